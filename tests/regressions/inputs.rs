//! Files that change, are no files, or lead elsewhere while a job reads them; results that a later attempt must not lose.

mod changed;
mod overflow;
mod places;
mod stuck;
