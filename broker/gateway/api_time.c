#include "broker/gateway/api_time.h"

/* Days since 1970-01-01 of a day of the proleptic Gregorian calendar. */
static int64_t days_of(int year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t of_era = y % 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return y / 400 * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

struct moment moment_of(uint64_t unix_ms)
{
    int64_t seconds = (int64_t)(unix_ms / 1000);
    int64_t days = seconds / 86400;
    int left = (int)(seconds % 86400);
    int64_t z = days + 719468;
    int64_t era = z / 146097;
    int64_t of_era = z - era * 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    int64_t month = (5 * of_year + 2) / 153;
    struct moment moment = {.day = (int)(of_year - (153 * month + 2) / 5 + 1),
                            .month = (int)(month < 10 ? month + 3 : month - 9),
                            .hour = left / 3600,
                            .minute = left / 60 % 60,
                            .second = left % 60};
    moment.year = (int)((year + era * 400 + (moment.month <= 2)) % 10000);
    return moment;
}

bool moment_unix_ms(const struct moment *moment, uint64_t *out)
{
    static const int days_in[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (moment->year < 1970 || moment->month < 1 || moment->month > 12 || moment->day < 1 ||
        moment->day > days_in[moment->month - 1] || moment->hour > 23 || moment->minute > 59 ||
        moment->second > 59) {
        return false;
    }
    int64_t seconds = days_of(moment->year, moment->month, moment->day) * 86400 +
                      moment->hour * 3600 + moment->minute * 60 + moment->second;
    *out = (uint64_t)seconds * 1000;
    return true;
}
