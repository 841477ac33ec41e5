//! The header of a safetensors file, checked as hostile input.
//!
//! Layout: eight bytes of header length (little-endian), the header (JSON), the tensors. What is
//! demanded beyond the format's own rules: at most 16 MiB of header, 100 000 tensors, rank 8, and
//! tensors that fill the file exactly, without gap or overlap. Nothing is allocated on the word of
//! the file before that word has been checked.

mod raw;

use crate::contract::codes::FailureCode;
use std::{collections::BTreeMap, ops::Range};

use crate::engine::tensors::{DType, Signature, TensorInfo};
use raw::{RawEntry, RawHeader};

/// Bytes of the header length in front of the header.
pub const PREFIX: u64 = 8;
/// Longest accepted header, in bytes.
pub const HEADER_LIMIT: u64 = 16 << 20;
/// How a file of Git LFS begins that stands for a large one: `version https://git-lfs…`.
pub(super) const LFS_POINTER: &[u8; 8] = b"version ";
const TENSOR_LIMIT: usize = 100_000;
const RANK_LIMIT: usize = 8;
const NAME_LIMIT: usize = 1024;
/// The longest axis of a tensor without elements: nothing in the file bears such a number out.
const EMPTY_AXIS_LIMIT: u64 = 1 << 16;

/// A tensor's place in its file, in bytes from the file's start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub info: TensorInfo,
    pub range: Range<u64>,
}

/// Every tensor of a file, known to fit it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    pub tensors: BTreeMap<String, Entry>,
}

/// Why a header is refused; the caller adds the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderFault {
    /// `truncated`, `header_too_large`, `unknown_dtype`, `git_lfs_pointer` or `malformed_safetensors`.
    pub code: FailureCode,
    pub tensor: Option<String>,
    pub detail: String,
}

impl HeaderFault {
    fn of_file(code: FailureCode, detail: impl Into<String>) -> Self {
        Self {
            code,
            tensor: None,
            detail: detail.into(),
        }
    }

    fn of_tensor(tensor: &str, detail: impl Into<String>) -> Self {
        Self {
            code: FailureCode::MalformedSafetensors,
            tensor: Some(tensor.into()),
            detail: detail.into(),
        }
    }
}

/// Where the header ends and the tensors begin, from a file's first eight bytes and its size.
///
/// # Errors
/// `truncated`, `header_too_large` or `git_lfs_pointer`.
pub fn data_start(prefix: &[u8], file_size: u64) -> Result<u64, HeaderFault> {
    let Some(prefix) = prefix.first_chunk() else {
        let detail = format!("has {file_size} bytes, too few for a safetensors file");
        return Err(HeaderFault::of_file(FailureCode::Truncated, detail));
    };
    if prefix == LFS_POINTER {
        let detail = "is a pointer of Git LFS, not the file itself: fetch it with `git lfs pull`";
        return Err(HeaderFault::of_file(FailureCode::GitLfsPointer, detail));
    }

    let length = u64::from_le_bytes(*prefix);
    if length > HEADER_LIMIT {
        let detail = format!("announces a header of {length} bytes; {HEADER_LIMIT} are allowed");
        return Err(HeaderFault::of_file(FailureCode::HeaderTooLarge, detail));
    }

    if PREFIX + length > file_size {
        let detail = format!(
            "ends inside its header: {file_size} of {} bytes",
            PREFIX + length
        );
        return Err(HeaderFault::of_file(FailureCode::Truncated, detail));
    }

    Ok(PREFIX + length)
}

impl Header {
    /// Reads the header's JSON (without the length in front) of a file of `file_size` bytes.
    ///
    /// # Errors
    /// See [`HeaderFault`].
    pub fn parse(json: &[u8], file_size: u64) -> Result<Self, HeaderFault> {
        let start = PREFIX + json.len() as u64;
        let raw: RawHeader = serde_json::from_slice(json).map_err(|error| {
            HeaderFault::of_file(
                FailureCode::MalformedSafetensors,
                format!("header: {error}"),
            )
        })?;
        let data_size = file_size.checked_sub(start).ok_or_else(|| {
            HeaderFault::of_file(FailureCode::Truncated, "ends inside its header")
        })?;

        let mut tensors = BTreeMap::new();
        for (name, raw) in raw.tensors {
            let entry = check_entry(&name, raw, start)?;
            tensors.insert(name, entry);
        }

        check_layout(&tensors, start, start + data_size)?;

        Ok(Self { tensors })
    }

    pub fn signature(&self) -> Signature {
        self.tensors
            .iter()
            .map(|(name, entry)| (name.clone(), entry.info.clone()))
            .collect()
    }
}

fn check_entry(name: &str, raw: RawEntry, start: u64) -> Result<Entry, HeaderFault> {
    if name.is_empty() || name.len() > NAME_LIMIT {
        let shown: String = name.chars().take(60).collect();
        let detail = format!("a name must have 1 to {NAME_LIMIT} bytes");
        return Err(HeaderFault::of_tensor(&shown, detail));
    }

    let dtype = dtype_named(&raw.dtype).ok_or_else(|| HeaderFault {
        code: FailureCode::UnknownDtype,
        ..HeaderFault::of_tensor(
            name,
            format!(
                "the dtype {:?} is not supported; use F32, F16 or BF16 for parameters",
                raw.dtype.chars().take(20).collect::<String>()
            ),
        )
    })?;
    if raw.shape.len() > RANK_LIMIT {
        let detail = format!("has {} axes; {RANK_LIMIT} are allowed", raw.shape.len());
        return Err(HeaderFault::of_tensor(name, detail));
    }

    let mut shape = Vec::with_capacity(raw.shape.len());
    let mut bytes = dtype.size() as u64;
    for &axis in &raw.shape {
        shape.push(usize::try_from(axis).map_err(|_| too_large(name, &raw.shape))?);
        bytes = bytes
            .checked_mul(axis)
            .ok_or_else(|| too_large(name, &raw.shape))?;
    }

    if bytes == 0 && raw.shape.iter().any(|&axis| axis > EMPTY_AXIS_LIMIT) {
        let detail = format!("the shape {:?} has no element, and a long axis", raw.shape);
        return Err(HeaderFault::of_tensor(name, detail));
    }

    let [from, to] = raw.data_offsets;
    if to.checked_sub(from) != Some(bytes) {
        let detail = format!(
            "occupies bytes {from} to {to}, but {} of shape {shape:?} needs {bytes}",
            dtype.name()
        );
        return Err(HeaderFault::of_tensor(name, detail));
    }

    let range = from.checked_add(start).zip(to.checked_add(start));
    let range = range.ok_or_else(|| too_large(name, &raw.shape))?;

    Ok(Entry {
        info: TensorInfo { dtype, shape },
        range: range.0..range.1,
    })
}

fn too_large(name: &str, shape: &[u64]) -> HeaderFault {
    HeaderFault::of_tensor(
        name,
        format!("the shape {shape:?} is too large for this machine"),
    )
}

/// Tensors follow each other from `start` to `end`.
fn check_layout(
    tensors: &BTreeMap<String, Entry>,
    start: u64,
    end: u64,
) -> Result<(), HeaderFault> {
    let mut in_order: Vec<_> = tensors.iter().collect();
    in_order.sort_by_key(|(_, entry)| (entry.range.start, entry.range.end));
    let mut position = start;
    for (name, entry) in in_order {
        if entry.range.start != position {
            let what = if entry.range.start < position {
                "overlaps"
            } else {
                "leaves a gap to"
            };
            return Err(HeaderFault::of_tensor(
                name,
                format!("{what} the tensor before it"),
            ));
        }
        position = entry.range.end;
    }

    if position > end {
        let detail = format!("is cut off: its tensors need {position} bytes, it has {end}");
        return Err(HeaderFault::of_file(FailureCode::Truncated, detail));
    }

    if position < end {
        let detail = format!("has {} bytes after its last tensor", end - position);
        return Err(HeaderFault::of_file(
            FailureCode::MalformedSafetensors,
            detail,
        ));
    }

    Ok(())
}

fn dtype_named(name: &str) -> Option<DType> {
    use DType::{BF16, Bool, F16, F32, I32, I64, U8};
    [F32, F16, BF16, I64, I32, U8, Bool]
        .into_iter()
        .find(|dtype| dtype.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses a header in front of `data` bytes.
    fn parse(json: &str, data: u64) -> Result<Header, HeaderFault> {
        Header::parse(json.as_bytes(), PREFIX + json.len() as u64 + data)
    }

    fn fault(json: &str, data: u64) -> (FailureCode, Option<String>) {
        let fault = parse(json, data).expect_err(json);
        (fault.code, fault.tensor)
    }

    fn entry(dtype: &str, shape: &str, from: u64, to: u64) -> String {
        format!(r#"{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{from},{to}]}}"#)
    }

    #[test]
    fn a_sound_header_says_where_its_tensors_lie() {
        let json = format!(
            r#"{{"__metadata__":{{"format":"pt"}},"b":{},"a":{}}}"#,
            entry("F32", "[2,3]", 0, 24),
            entry("BF16", "[]", 24, 26)
        );
        let header = parse(&json, 26).unwrap();
        let start = PREFIX + json.len() as u64;
        assert_eq!(header.tensors["b"].range, start..start + 24);
        assert_eq!(header.tensors["b"].info.shape, [2, 3]);
        assert_eq!(header.tensors["a"].info.dtype, DType::BF16);

        assert_eq!(parse("{}", 0).unwrap(), Header::default());
    }

    #[test]
    fn the_length_in_front_is_not_believed() {
        assert_eq!(data_start(&16u64.to_le_bytes(), 24), Ok(24));
        let code = |prefix: &[u8], size| data_start(prefix, size).unwrap_err().code;
        assert_eq!(code(&[1, 2, 3], 3), FailureCode::Truncated);
        assert_eq!(code(&17u64.to_le_bytes(), 24), FailureCode::Truncated);
        assert_eq!(
            code(&(HEADER_LIMIT + 1).to_le_bytes(), u64::MAX),
            FailureCode::HeaderTooLarge
        );

        assert_eq!(
            code(&u64::MAX.to_le_bytes(), 24),
            FailureCode::HeaderTooLarge
        );
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "one case after the other")]
    fn each_lie_is_found() {
        let one = |e: String| format!(r#"{{"a":{e}}}"#);
        let two = |a: String, b: String| format!(r#"{{"a":{a},"b":{b}}}"#);
        let malformed = FailureCode::MalformedSafetensors;
        let a = Some("a".to_owned());
        let b = Some("b".to_owned());
        for (json, data, expected) in [
            (
                one(entry("F32", "[2]", 0, 8)),
                7,
                (FailureCode::Truncated, None),
            ),
            (one(entry("F32", "[2]", 0, 8)), 9, (malformed, None)),
            (one(entry("F32", "[2]", 0, 7)), 7, (malformed, a.clone())),
            (one(entry("F32", "[2]", 8, 0)), 8, (malformed, a.clone())),
            (one(entry("F32", "[2]", 4, 12)), 12, (malformed, a.clone())),
            (
                one(entry("F99", "[2]", 0, 8)),
                8,
                (FailureCode::UnknownDtype, a.clone()),
            ),
            (
                one(entry("F32", "[1,1,1,1,1,1,1,1,1]", 0, 4)),
                4,
                (malformed, a.clone()),
            ),
            (
                one(entry("F32", "[18446744073709551615,2]", 0, 8)),
                8,
                (malformed, a.clone()),
            ),
            (
                one(entry("U8", "[1]", u64::MAX - 1, u64::MAX)),
                1,
                (malformed, a.clone()),
            ),
            (
                one(entry("F32", "[1099511627776,0]", 0, 0)),
                0,
                (malformed, a.clone()),
            ),
            (
                one(entry("F32", "[0,4611686018427387904]", 0, 0)),
                0,
                (malformed, a),
            ),
            (one(entry("F32", "[-1]", 0, 4)), 4, (malformed, None)),
            (one(entry("F32", "[1.5]", 0, 4)), 4, (malformed, None)),
            (
                two(entry("U8", "[4]", 0, 4), entry("U8", "[4]", 2, 6)),
                6,
                (malformed, b.clone()),
            ),
            (
                two(entry("U8", "[4]", 0, 4), entry("U8", "[4]", 0, 4)),
                4,
                (malformed, b.clone()),
            ),
            (
                two(entry("U8", "[4]", 0, 4), entry("U8", "[2]", 6, 8)),
                8,
                (malformed, b),
            ),
        ] {
            assert_eq!(fault(&json, data), expected, "{json}");
        }
        let e = entry("U8", "[1]", 0, 1);

        for json in [
            String::new(),
            "[]".into(),
            "{".into(),
            format!(r#"{{"a":{e},"a":{e}}}"#),
            format!(r#"{{"a":{e}}}x"#),
            r#"{"a":{"dtype":"U8","shape":[1]}}"#.into(),
            r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":1}}"#.into(),
            r#"{"__metadata__":{"a":1}}"#.into(),
            format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000)),
        ] {
            assert_eq!(fault(&json, 1).0, malformed, "{json}");
        }
    }

    #[test]
    fn too_many_tensors_are_refused_before_they_are_kept() {
        let e = entry("U8", "[0]", 0, 0);
        let many: Vec<String> = (0..=TENSOR_LIMIT)
            .map(|i| format!(r#""{i}":{e}"#))
            .collect();
        let error = parse(&format!("{{{}}}", many.join(",")), 0).unwrap_err();
        assert!(
            error.detail.contains("more than 100000"),
            "{}",
            error.detail
        );
    }
}
