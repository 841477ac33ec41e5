//! The header of a page: how many values it has and how many bytes, packed and unpacked.
//!
//! It is a structure of Thrift's compact protocol, of which the few fields that count are kept and the
//! rest is stepped over. Nothing is allocated. A field that is there twice counts as the reader counts it,
//! by the last; of several counts of values the largest is taken, whichever the reader believes.

use std::io::{self, Read};

/// How deep structures may lie in one another.
const MAX_DEPTH: usize = 8;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    #[default]
    Data,
    Index,
    Dictionary,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    pub kind: Kind,
    /// Bytes of the header itself.
    pub length: u64,
    /// Bytes in the file, and of these unpacked.
    pub packed: u64,
    pub unpacked: u64,
    /// Bytes before what is packed, in pages of the second version: of definition levels and of
    /// repetition levels.
    levels: [u64; 2],
    pub is_packed: bool,
    pub values: u64,
}

impl Header {
    /// The header that begins here.
    ///
    /// # Errors
    /// Where there is none.
    pub fn read(from: impl Read) -> io::Result<Self> {
        let mut header = Self {
            is_packed: true,
            ..Self::default()
        };
        let mut thrift = Compact { from, read: 0 };
        thrift.fields(&mut |thrift, id, kind| header.field(thrift, id, kind))?;
        header.length = thrift.read;
        Ok(header)
    }

    /// Bytes before what is packed.
    pub fn levels(&self) -> u64 {
        self.levels[0] + self.levels[1]
    }

    fn more_values(&mut self, values: u64) {
        self.values = self.values.max(values);
    }

    fn field<R: Read>(&mut self, thrift: &mut Compact<R>, id: i64, kind: u8) -> io::Result<()> {
        match (id, kind) {
            (1, INTEGER) => {
                self.kind = match thrift.integer()? {
                    1 => Kind::Index,
                    2 => Kind::Dictionary,
                    _ => Kind::Data,
                }
            }
            (2, INTEGER) => self.unpacked = thrift.count()?,
            (3, INTEGER) => self.packed = thrift.count()?,
            (5 | 7, STRUCTURE) => thrift.fields(&mut |thrift, id, kind| match (id, kind) {
                (1, INTEGER) => thrift.count().map(|values| self.more_values(values)),
                _ => thrift.skip(kind, MAX_DEPTH),
            })?,
            (8, STRUCTURE) => thrift.fields(&mut |thrift, id, kind| match (id, kind) {
                (1, INTEGER) => thrift.count().map(|values| self.more_values(values)),
                (5, INTEGER) => thrift.count().map(|bytes| self.levels[0] = bytes),
                (6, INTEGER) => thrift.count().map(|bytes| self.levels[1] = bytes),
                (7, TRUE | FALSE) => {
                    self.is_packed = kind == TRUE;
                    Ok(())
                }
                _ => thrift.skip(kind, MAX_DEPTH),
            })?,
            _ => thrift.skip(kind, MAX_DEPTH)?,
        }
        Ok(())
    }
}

const TRUE: u8 = 1;
const FALSE: u8 = 2;
const INTEGER: u8 = 5;
const STRUCTURE: u8 = 12;

struct Compact<R> {
    from: R,
    /// Bytes so far.
    read: u64,
}

impl<R: Read> Compact<R> {
    fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.from.read_exact(&mut byte)?;
        self.read += 1;
        Ok(byte[0])
    }

    fn natural(&mut self) -> io::Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(damaged())
    }

    fn integer(&mut self) -> io::Result<i64> {
        let number = self.natural()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    /// Of 32 bits, and not below zero.
    fn count(&mut self) -> io::Result<u64> {
        let number = i32::try_from(self.integer()?).map_err(|_| damaged())?;
        u64::try_from(number).map_err(|_| damaged())
    }

    /// Every field's number and type, for somebody who reads its value.
    fn fields(
        &mut self,
        each: &mut dyn FnMut(&mut Self, i64, u8) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut id = 0i64;
        loop {
            let (step, kind) = match self.byte()? {
                0 => return Ok(()),
                byte => (byte >> 4, byte & 0xf),
            };
            id = if step == 0 {
                self.integer()?
            } else {
                id.wrapping_add(step.into())
            };
            each(self, id, kind)?;
        }
    }

    fn skip(&mut self, kind: u8, depth: usize) -> io::Result<()> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(damaged());
        };
        match kind {
            TRUE | FALSE => Ok(()),
            3 => self.bytes(1),
            4 | INTEGER | 6 => self.natural().map(drop),
            7 => self.bytes(8),
            8 => {
                let length = self.natural()?;
                self.bytes(length)
            }
            9 | 10 => {
                let begin = self.byte()?;
                let length = if begin >> 4 == 15 {
                    self.natural()?
                } else {
                    (begin >> 4).into()
                };
                (0..length).try_for_each(|_| self.element(begin & 0xf, depth))
            }
            11 => match self.natural()? {
                0 => Ok(()),
                length => {
                    let kinds = self.byte()?;
                    (0..length).try_for_each(|_| {
                        self.element(kinds >> 4, depth)?;
                        self.element(kinds & 0xf, depth)
                    })
                }
            },
            STRUCTURE => self.fields(&mut |thrift, _, kind| thrift.skip(kind, depth)),
            _ => Err(damaged()),
        }
    }

    /// In a list a truth value is a byte of its own.
    fn element(&mut self, kind: u8, depth: usize) -> io::Result<()> {
        if matches!(kind, TRUE | FALSE) {
            self.bytes(1)
        } else {
            self.skip(kind, depth)
        }
    }

    fn bytes(&mut self, count: u64) -> io::Result<()> {
        let passed = io::copy(&mut self.from.by_ref().take(count), &mut io::sink())?;
        self.read += passed;
        if passed < count {
            Err(io::ErrorKind::UnexpectedEof.into())
        } else {
            Ok(())
        }
    }
}

fn damaged() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the header of a page is damaged",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_that_count_are_kept() {
        // Type 0, 300 bytes unpacked, 20 packed; a data page header of 5 values whose statistics are
        // two bytes; what comes after is not the header's.
        let bytes = [
            0x15, 0, 0x15, 0xd8, 4, 0x15, 40, 0x2c, 0x15, 10, 0x15, 0, 0x3c, 0x18, 2, 7, 7, 0, 0,
            0, 99,
        ];
        let header = Header::read(&bytes[..]).unwrap();
        let expected = Header {
            length: 20,
            packed: 20,
            unpacked: 300,
            is_packed: true,
            values: 5,
            ..header
        };
        assert_eq!((header, header.kind), (expected, Kind::Data));
        for end in 0..20 {
            assert!(Header::read(&bytes[..end]).is_err(), "cut off after {end}");
        }
        // What two headers say in one, and levels said twice.
        let two = [0x5c, 0x15, 18, 0, 0x3c, 0x15, 2, 0x45, 10, 0x15, 4, 0, 0];
        let header = Header::read(&two[..]).unwrap();
        assert_eq!((header.values, header.levels()), (9, 7));
        let twice = [0x8c, 0x55, 10, 0x05, 10, 6, 0x22, 0x01, 14, 0, 0];
        let header = Header::read(&twice[..]).unwrap();
        assert_eq!((header.levels(), header.is_packed), (3, true));
        // A size below zero, and structures without end.
        assert!(Header::read(&[0x25, 1, 0][..]).is_err());
        assert!(Header::read(&[0x9c; 64][..]).is_err());
    }
}
