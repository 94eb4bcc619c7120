#include "base/formats.h"

#include <inttypes.h>

const struct format formats[] = {
#define X(name, text, version, oldest, who) {text, version, oldest, who},
    WEIR_FORMATS(X)
#undef X
};

const size_t format_count = sizeof(formats) / sizeof(formats[0]);

enum status format_refuse(struct error *error, const char *what, uint64_t found, uint32_t version,
                          uint32_t oldest)
{
    if (found < oldest) {
        return error_set(error, STATUS_UNSUPPORTED,
                         "%s has format %" PRIu64
                         ", this version reads %u to %u: it was written by "
                         "a Weir that is too old. Upgrade by one release at a time",
                         what, found, oldest, version);
    }
    return error_set(error, STATUS_UNSUPPORTED,
                     "%s has format %" PRIu64 ", this version knows %u: it was written by a newer "
                     "Weir. Nothing was changed; start the newer version again",
                     what, found, version);
}
