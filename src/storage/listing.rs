//! What a store tells of objects without their content.

use super::location::Location;

/// An object without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    pub location: Location,
    pub size: u64,
    /// Changes when the object does.
    pub etag: Option<String>,
}

/// A folder, one level deep, in order of name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    pub files: Vec<ObjectInfo>,
    pub folders: Vec<Location>,
}
