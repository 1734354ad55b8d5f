//! Bodies of clients, from bytes to values whose fields can be asked for by name. Every refusal names the
//! field; none repeats what a library said. Must never guess: a value of another type is an error, not a
//! default.

mod body;
mod content;
mod fields;
mod form;
mod json;
mod offset;
mod query;

pub(crate) use body::{BodyBudget, RequestBody, read};
pub(crate) use content::Content;
pub(crate) use fields::{Fields, Switch};
pub(crate) use offset::offset;
pub(crate) use query::{decode, parameter, parameter_bytes};
