#include <stdio.h>

#include "broker/gateway/http_internal.h"

/* From days since 1970 to a date of the Gregorian calendar, by counting from a 1 March, so that
 * leap days come last. */
static void civil_from_days(uint64_t days, unsigned *out_year, unsigned *out_month,
                            unsigned *out_day)
{
    enum { DAYS_TO_1970 = 719468, DAYS_PER_ERA = 146097, YEARS_PER_ERA = 400 };
    days += DAYS_TO_1970;
    uint64_t era = days / DAYS_PER_ERA;
    uint64_t of_era = days % DAYS_PER_ERA;
    uint64_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    uint64_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    uint64_t month = (5 * of_year + 2) / 153; /* 0 = March */
    *out_day = (unsigned)(of_year - (153 * month + 2) / 5 + 1);
    *out_month = (unsigned)(month < 10 ? month + 3 : month - 9);
    *out_year = (unsigned)(era * YEARS_PER_ERA + year_of_era + (*out_month <= 2 ? 1 : 0));
}

void http_date(uint64_t unix_s, char out[HTTP_DATE_BYTES])
{
    static const char weekdays[] = "ThuFriSatSunMonTueWed";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    enum { DAY_S = 86400 };
    const uint64_t last_s = 253402300799; /* of the year 9999: four digits are the format */
    unsigned year;
    unsigned month;
    unsigned day;
    unix_s = unix_s < last_s ? unix_s : last_s;
    uint64_t days = unix_s / DAY_S;
    unsigned second = (unsigned)(unix_s % DAY_S);
    civil_from_days(days, &year, &month, &day);
    (void)snprintf(out, HTTP_DATE_BYTES, "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT",
                   weekdays + days % 7 * 3, day % 100, months + (size_t)(month - 1) * 3,
                   year % 10000, second / 3600, second / 60 % 60, second % 60);
}
