//! Numbers as people read them, the same in every rendering.

use crate::stats::Interval;

/// `82.6 %`
pub(super) fn percent(share: f64) -> String {
    // The sum of nothing is −0.
    format!("{:.1} %", share * 100.0 + 0.0)
}

/// `80.6 – 84.4`
pub(super) fn bounds(interval: Interval) -> String {
    format!("{:.1} – {:.1}", interval.low * 100.0, interval.high * 100.0)
}

/// `82.6 % [80.6, 84.4]`
pub(super) fn percent_interval(interval: Interval) -> String {
    format!("{} [{:.1}, {:.1}]", percent(interval.estimate), interval.low * 100.0, interval.high * 100.0)
}

/// `+1.3`, of percentage points.
pub(super) fn points(share: f64) -> String {
    let shown = format!("{:+.1}", share * 100.0);
    if shown == "-0.0" { "+0.0".to_owned() } else { shown.replace('-', "−") }
}

/// `+1.3 points [+0.2, +2.4]`
pub(super) fn points_interval(interval: Interval) -> String {
    format!("{} points [{}, {}]", points(interval.estimate), points(interval.low), points(interval.high))
}

/// `0.523 [0.498, 0.551]`
pub(super) fn number_interval(interval: Interval) -> String {
    format!("{:.3} [{:.3}, {:.3}]", interval.estimate, interval.low, interval.high)
}

/// A p-value, small ones only by their bound.
pub(super) fn p_value(p: f64) -> String {
    if p < 0.0001 { "< 0.0001".to_owned() } else { format!("{p:.4}") }
}

/// `1 seed`, `5 seeds`
pub(super) fn counted(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

/// `2026-11-22 18:04 UTC` of seconds since 1970.
pub(super) fn date(unix_s: u64) -> String {
    let (days, second) = ((unix_s / 86_400) as i64, unix_s % 86_400);
    // Days to a date of the Gregorian calendar, counting from 1 March of the year 0.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year}-{month:02}-{day:02} {:02}:{:02} UTC", second / 3600, second / 60 % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        let interval = Interval { estimate: 0.8256, low: 0.806, high: 0.8441 };
        assert_eq!(percent_interval(interval), "82.6 % [80.6, 84.4]");
        assert_eq!((percent(-0.0), percent([0.0; 0].iter().sum())), ("0.0 %".to_owned(), "0.0 %".to_owned()));
        assert_eq!((points(0.013), points(-0.013), points(-0.0001)), ("+1.3".into(), "−1.3".into(), "+0.0".into()));
        assert_eq!((p_value(0.00001), p_value(0.25)), ("< 0.0001".to_owned(), "0.2500".to_owned()));
        assert_eq!((counted(1, "seed"), counted(5, "seed")), ("1 seed".to_owned(), "5 seeds".to_owned()));
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), "1970-01-01 00:00 UTC");
        assert_eq!(date(951_827_640), "2000-02-29 12:34 UTC");
        assert_eq!(date(1_795_370_640), "2026-11-22 18:04 UTC");
    }
}
