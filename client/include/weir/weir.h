/* libweir: produce to, read from and administer a Weir cluster. This header includes all others.
 *
 * Names of the interface begin with weir_ or WEIR_; nothing else is part of it. */
#pragma once

#include <weir/admin.h>
#include <weir/app.h>
#include <weir/balance.h>
#include <weir/client.h>
#include <weir/consumer.h>
#include <weir/control.h>
#include <weir/controllers.h>
#include <weir/keyring.h>
#include <weir/keys.h>
#include <weir/moves.h>
#include <weir/process.h>
#include <weir/producer.h>
#include <weir/reader.h>
#include <weir/status.h>
