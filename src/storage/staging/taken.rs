//! The pieces of one file, as they are taken.

use std::io::Write;

use bytes::Bytes;
use object_store::PutPayload;

use super::Pieces;
use crate::storage::{StorageError, digest::Running, location::Location};

/// A file's pieces, counted and digested as they are taken.
pub struct Taken<'a> {
    pub place: &'a Location,
    pieces: Pieces<'a>,
    /// Of the piece that did not fit into a part.
    rest: Option<Bytes>,
    pub running: Running,
    go_on: &'a dyn Fn() -> bool,
}

impl<'a> Taken<'a> {
    pub fn new(place: &'a Location, pieces: Pieces<'a>, go_on: &'a dyn Fn() -> bool) -> Self {
        Self {
            place,
            pieces,
            rest: None,
            running: Running::default(),
            go_on,
        }
    }

    fn next(&mut self) -> Result<Option<Bytes>, StorageError> {
        if !(self.go_on)() {
            return Err(StorageError::Stopped);
        }
        let piece = self.pieces.next().transpose();
        let piece = piece.map_err(|error| StorageError::unavailable(self.place, &error))?;
        if let Some(piece) = &piece {
            self.running.update(piece);
        }
        Ok(piece)
    }

    pub fn write_to(&mut self, file: &mut std::fs::File) -> Result<(), StorageError> {
        while let Some(piece) = self.next()? {
            file.write_all(&piece)
                .map_err(|error| StorageError::from_io(self.place, &error))?;
        }
        Ok(())
    }

    pub fn whole(&mut self, size: u64) -> Result<Bytes, StorageError> {
        let mut whole = Vec::with_capacity(size as usize);
        while let Some(piece) = self.next()? {
            whole.extend_from_slice(&piece);
        }
        Ok(whole.into())
    }

    /// The next `size` bytes, or what is left; `None` at the end.
    pub fn part(&mut self, size: u64) -> Result<Option<PutPayload>, StorageError> {
        let (mut pieces, mut filled) = (Vec::new(), 0);
        while filled < size {
            let mut piece = match self.rest.take() {
                Some(rest) => rest,
                None => match self.next()? {
                    Some(piece) => piece,
                    None => break,
                },
            };
            let fits = (piece.len() as u64).min(size - filled) as usize;
            filled += fits as u64;
            pieces.push(piece.split_to(fits));
            self.rest = Some(piece).filter(|rest| !rest.is_empty());
        }
        Ok((!pieces.is_empty()).then(|| pieces.into_iter().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::codes::FailureCode;

    fn location() -> Location {
        Location::from_uri("memory:///out").unwrap()
    }

    #[test]
    fn parts_are_of_one_size_but_the_last() {
        let place = location();
        let mut pieces = [&b"abcdefg"[..], b"", b"h", b"ijk"]
            .into_iter()
            .map(|piece| Ok(piece.into()));
        let mut taken = Taken::new(&place, &mut pieces, &|| true);
        let mut parts = Vec::new();
        while let Some(part) = taken.part(4).unwrap() {
            parts.push(Bytes::from(part));
        }
        assert_eq!(parts, ["abcd", "efgh", "ijk"]);
        assert_eq!(taken.running.size(), 11);
    }

    #[test]
    fn a_stop_is_heard_before_every_piece() {
        let place = location();
        let mut pieces = std::iter::once(Ok(Bytes::from_static(b"a")));
        let mut taken = Taken::new(&place, &mut pieces, &|| false);
        assert_eq!(taken.whole(1).unwrap_err().code(), FailureCode::Stopped);
    }
}
