//! When a certificate is good: the two times out of its DER, for messages only.
//! Owns so much of X.509 and no more; whether a certificate is trusted is rustls's to say.

/// Seconds since 1970: from and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
}

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// The version, if it is there.
const EXPLICIT_0: u8 = 0xa0;

/// `None` for what is not a certificate.
pub(crate) fn validity(der: &[u8]) -> Option<Validity> {
    let (certificate, _) = take(der, SEQUENCE)?;
    let (signed, _) = take(certificate, SEQUENCE)?;
    let signed = take(signed, EXPLICIT_0).map_or(signed, |(_, rest)| rest);
    let (_serial, rest) = take(signed, INTEGER)?;
    let (_algorithm, rest) = take(rest, SEQUENCE)?;
    let (_issuer, rest) = take(rest, SEQUENCE)?;
    let (times, _) = take(rest, SEQUENCE)?;
    let (not_before, times) = time(times)?;
    let (not_after, _) = time(times)?;
    Some(Validity { not_before, not_after })
}

/// The content of an element of this kind, and what comes after it.
fn take(der: &[u8], kind: u8) -> Option<(&[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f)).filter(|(bytes, _)| bytes.len() <= 4)?;
        (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
    };
    rest.split_at_checked(length).filter(|_| tag == kind)
}

fn time(der: &[u8]) -> Option<(i64, &[u8])> {
    let (text, rest, century) = if let Some((text, rest)) = take(der, UTC_TIME) {
        // Two digits: 1950 to 2049 (RFC 5280).
        (text, rest, if *text.first()? < b'5' { "20" } else { "19" })
    } else {
        let (text, rest) = take(der, GENERALIZED_TIME)?;
        (text, rest, "")
    };
    let text = format!("{century}{}", std::str::from_utf8(text).ok()?);
    let number = |from: usize, digits: usize| text.get(from..from + digits)?.parse::<i64>().ok();
    let days = days(number(0, 4)?, number(4, 2)?, number(6, 2)?);
    Some((((days * 24 + number(8, 2)?) * 60 + number(10, 2)?) * 60 + number(12, 2)?, rest))
}

/// Days from 1970-01-01 in the Gregorian calendar. The year is counted from March, so that a leap day is its last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + of_year - 719_468
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn the_times_of_a_certificate_are_read_in_both_encodings() {
        let mut params = rcgen::CertificateParams::new(["a".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2024, 2, 29);
        params.not_after = rcgen::date_time_ymd(2051, 3, 1); // beyond UTCTime
        let cert = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        let valid = validity(cert.der()).unwrap();
        assert_eq!((valid.not_before, valid.not_after), (1_709_164_800, 2_561_241_600));
        assert_eq!(days(1970, 1, 1), 0);
        for end in 0..cert.der().len() {
            assert!(end > 100 || validity(&cert.der()[..end]).is_none(), "cut off after {end} bytes");
        }
        assert_eq!(validity(b"-----BEGIN"), None);
    }
}
