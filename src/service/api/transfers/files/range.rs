//! The `Range` header of RFC 9110, section 14, for one range of bytes.

use std::ops::Range;

/// What a `Range` header asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Wanted {
    /// No range, one that cannot be read, or several: the whole file.
    Whole,
    Part(Range<u64>),
    /// A range that lies past the end.
    Beyond,
}

/// Reads `bytes=first-last`, `bytes=first-` or `bytes=-length` for a file of `size` bytes.
pub fn read(header: &str, size: u64) -> Wanted {
    let Some((first, last)) = header
        .trim()
        .strip_prefix("bytes=")
        .filter(|ranges| !ranges.contains(','))
        .and_then(|range| range.trim().split_once('-'))
    else {
        return Wanted::Whole;
    };
    match (number(first), number(last)) {
        (None, Some(length)) if first.is_empty() => match length.min(size) {
            0 => Wanted::Beyond,
            length => Wanted::Part(size - length..size),
        },
        (Some(first), None) if last.is_empty() => from(first, size, size),
        (Some(first), Some(last)) if first <= last => {
            from(first, last.saturating_add(1).min(size), size)
        }
        _ => Wanted::Whole,
    }
}

fn from(first: u64, end: u64, size: u64) -> Wanted {
    if first >= size {
        Wanted::Beyond
    } else {
        Wanted::Part(first..end)
    }
}

/// Digits alone: `parse` would take a sign too. More digits than fit are past every end.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_a_file_of_ten_bytes() {
        for (header, wanted) in [
            ("bytes=0-3", Wanted::Part(0..4)),
            ("bytes=7-", Wanted::Part(7..10)),
            ("bytes=-4", Wanted::Part(6..10)),
            ("bytes=-99", Wanted::Part(0..10)),
            ("bytes=8-99", Wanted::Part(8..10)),
            ("bytes=10-", Wanted::Beyond),
            ("bytes=99999999999999999999-", Wanted::Beyond),
            ("bytes=-0", Wanted::Beyond),
            ("bytes=5-2", Wanted::Whole),
            ("bytes=0-1,4-5", Wanted::Whole),
            ("bytes=+1-2", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("lines=1-2", Wanted::Whole),
        ] {
            assert_eq!(read(header, 10), wanted, "{header}");
        }
    }

    #[test]
    fn nothing_of_an_empty_file_can_be_asked_for() {
        assert_eq!(read("bytes=0-", 0), Wanted::Beyond);
        assert_eq!(read("bytes=-1", 0), Wanted::Beyond);
    }
}
