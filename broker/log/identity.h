/* Who a data directory belongs to, and how often a broker was started from it.
 *
 * identity: three equal copies, 4 KiB apart, each
 *   0 u32 magic "WIDY"   4 u32 crc over [8, 512)   8 u32 format   12 u32 broker
 *  16 16 B cluster id (zero: none yet)             32 16 B disk id   48 zeros
 *
 * boot: two slots, 4 KiB apart, for odd and even ids: this start's and the one's before it. The
 * greater valid one counts, unless the other is damaged: see disk_boot_read(). Each
 *   0 u32 magic "WBOO"   4 u32 crc over [8, 512)   8 u64 boot id   16 16 B disk id   32 zeros */
#pragma once

#include "base/formats.h"
#include "broker/log/log.h"

enum { DIRECTORY_FORMAT = FORMAT_DIRECTORY };

struct identity {
    uint32_t broker, format;
    uint8_t cluster_id[CLUSTER_ID_BYTES], disk_id[DISK_ID_BYTES];
};

/* NOT_FOUND: there is none. CORRUPT: no copy is readable. UNSUPPORTED: another format,
 * which out->format tells. A copy that is bad beside a good one is of no consequence. */
NODISCARD enum status disk_identity_read(const struct disk *disk, const char *dir,
                                         struct identity *out);
NODISCARD enum status disk_identity_write(const struct disk *disk, const char *dir,
                                          const struct identity *identity);

/* No greater boot id than this was used: it is more than a slot says when the other is damaged.
 * NOT_FOUND, CORRUPT (also: of another disk). */
NODISCARD enum status disk_boot_read(const struct disk *disk, const char *dir,
                                     const struct identity *identity, uint64_t *out_boot);
NODISCARD enum status disk_boot_write(const struct disk *disk, const char *dir,
                                      const struct identity *identity, uint64_t boot);
