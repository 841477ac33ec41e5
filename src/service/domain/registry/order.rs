//! Which of two versions is newer.
//!
//! News of versions may arrive in any order, so arrival alone would be a bad judge. Where both names
//! are made of numbers (`3`, `v1.10`, `2026-11-03`) the numbers decide; otherwise arrival does.

use crate::contract::ids::BaseVersionId;

/// A version, as far as its order is concerned.
#[derive(Clone, Copy, Debug)]
pub struct Release<'a> {
    pub version: &'a str,
    /// `UUIDv7`, drawn on arrival.
    pub id: BaseVersionId,
}

/// Whether `one` is newer than `other`. No version is newer than itself.
pub fn is_newer(one: Release, other: Release) -> bool {
    match (numbers(one.version), numbers(other.version)) {
        (Some(a), Some(b)) if a != b => a > b,
        _ => one.id > other.id,
    }
}

/// The numbers of a name that has nothing else but separators and a leading `v`.
fn numbers(version: &str) -> Option<Vec<u64>> {
    let version = version.strip_prefix(['v', 'V']).unwrap_or(version);
    version.split(['.', '-', '_']).map(number).collect()
}

/// Digits alone: no sign, which parsing would allow.
fn number(part: &str) -> Option<u64> {
    part.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| part.parse().ok())?
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn numbers_decide_before_arrival_does() {
        let (early, late) = (
            BaseVersionId(Uuid::from_u128(1)),
            BaseVersionId(Uuid::from_u128(2)),
        );
        let newer = |a: &str, b: &str| {
            // `a` arrives first.
            is_newer(
                Release {
                    version: a,
                    id: early,
                },
                Release {
                    version: b,
                    id: late,
                },
            )
        };
        assert!(newer("3", "2") && newer("v1.10", "1.9") && newer("2026-11-03", "2026-10-31"));
        assert!(newer("1.0.1", "1.0") && !newer("2", "10"));
        // Not numbers, or the same: arrival.
        assert!(!newer("spring", "autumn") && !newer("3-rc1", "2") && !newer("v1", "1"));
        assert!(
            !newer("99999999999999999999999", "1"),
            "more than fits: arrival"
        );
        let one = Release {
            version: "1",
            id: early,
        };
        assert!(!is_newer(one, one));
    }
}
