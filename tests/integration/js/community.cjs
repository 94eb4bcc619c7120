// Reads or writes a stream with packages of the Node.js community, and prints one JSON line a record: {key, data}.
//
//   community.cjs write STREAM COUNT        aws-kinesis-agg packs "key-N line N", the AWS SDK puts what it made
//   community.cjs read STREAM COUNT         the AWS SDK gets records, aws-kinesis-agg takes them apart
//   community.cjs consume STREAM COUNT      lifion-kinesis, as it comes, with its leases in a DynamoDB emulator in this process
//
// Not its enhanced fan-out: version 1.3.3 signs and sends those requests for amazonaws.com whatever the endpoint is.
'use strict'
process.env.AWS_SDK_JS_SUPPRESS_MAINTENANCE_MODE_MESSAGE = '1'
const AWS = require('aws-sdk')
const agg = require('aws-kinesis-agg')

const [verb, stream, count] = [process.argv[2], process.argv[3], Number(process.argv[4])]
const region = process.env.AWS_REGION
const endpoint = process.env.AWS_ENDPOINT_URL_KINESIS
const kinesis = new AWS.Kinesis({ endpoint, region })
const print = (key, data) => console.log(JSON.stringify({ key, data: Buffer.from(data).toString() }))

async function write () {
  const puts = []
  const records = Array.from({ length: count }, (_, i) => ({ partitionKey: `key-${i % 30}`, data: Buffer.from(`line ${i}`) }))
  for (let i = 0; i < count; i += 400) {
    await new Promise((resolve, reject) => {
      agg.aggregate(records.slice(i, i + 400), (encoded, done) => {
        puts.push(encoded)
        done()
      }, resolve, reject)
    })
  }
  for (const { partitionKey, data } of puts) {
    await kinesis.putRecord({ StreamName: stream, PartitionKey: partitionKey, Data: data }).promise()
  }
  console.error(`${puts.length} records for ${count}`)
}

async function read () {
  const { Shards } = await kinesis.listShards({ StreamName: stream }).promise()
  for (const { ShardId } of Shards) {
    const start = { StreamName: stream, ShardId, ShardIteratorType: 'TRIM_HORIZON' }
    let at = (await kinesis.getShardIterator(start).promise()).ShardIterator
    for (;;) {
      const page = await kinesis.getRecords({ ShardIterator: at }).promise()
      for (const record of page.Records) {
        const wrapped = { data: record.Data.toString('base64'), partitionKey: record.PartitionKey, sequenceNumber: record.SequenceNumber }
        agg.deaggregateSync(wrapped, true, (problem, users) => {
          if (problem) throw problem
          for (const user of users) print(user.partitionKey, Buffer.from(user.data, 'base64'))
        })
      }
      at = page.NextShardIterator
      if (!at || (page.Records.length === 0 && page.MillisBehindLatest === 0)) break
    }
  }
}

async function consume () {
  const Lifion = require('lifion-kinesis')
  const dynamo = require('dynalite')({ createTableMs: 10, updateTableMs: 10, deleteTableMs: 10 })
  await new Promise(resolve => dynamo.listen(0, '127.0.0.1', resolve))
  const consumer = new Lifion({
    streamName: stream,
    region,
    endpoint,
    consumerGroup: 'readers',
    createStreamIfNeeded: false,
    initialPositionInStream: 'TRIM_HORIZON',
    leaseAcquisitionInterval: 1000,
    maxEnhancedConsumers: 1,
    noRecordsPollDelay: 250,
    shouldDeaggregate: true,
    shouldParseJson: false,
    dynamoDb: { endpoint: `http://127.0.0.1:${dynamo.address().port}`, region, tableName: 'leases' },
    logger: { debug () {}, warn: (...a) => console.error('warning:', ...a), error: (...a) => console.error('error:', ...a) }
  })
  let seen = 0
  const all = new Promise((resolve, reject) => {
    consumer.on('error', reject)
    consumer.on('data', ({ records }) => {
      for (const record of records) {
        print(record.partitionKey, record.data)
        if (++seen === count) resolve()
      }
    })
  })
  await consumer.startConsumer()
  await all
  consumer.stopConsumer()
  process.stdout.write('', () => process.exit(0))
}

const verbs = { write, read, consume }
verbs[verb]().catch(problem => {
  console.error(problem)
  process.exit(1)
})
