//! Names of images, one file for all: who gave which to what.

use super::places::Places;
use crate::error::{Doing, Error, Result};
use bulkhead_protocol::image::{ImageId, ImageName};
use bulkhead_sys::error::Context;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::ErrorKind;

const FILE: &str = "names.json";
/// Names of one owner.
const MAX_NAMES: usize = 1000;

/// One name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Given {
    pub(crate) org: Option<String>,
    pub(crate) name: ImageName,
    pub(crate) id: ImageId,
    pub(crate) created_us: i64,
    pub(crate) created_by: Option<String>,
}

/// All names, by owner and name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names(BTreeMap<(Option<String>, ImageName), Given>);

impl Names {
    pub(crate) fn read(places: &Places) -> Result<Self> {
        let path = places.file(FILE);
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            read => read.during("read", || path.display().to_string()).doing("read the names of images")?,
        };
        let all: Vec<Given> =
            serde_json::from_slice(&text).map_err(|source| Error::Unreadable { path, source })?;
        Ok(Self(all.into_iter().map(|given| (key(&given), given)).collect()))
    }

    pub(crate) fn write(&self, places: &Places) -> Result<()> {
        let path = places.file(FILE);
        let all: Vec<_> = self.0.values().collect();
        let text =
            serde_json::to_vec(&all).map_err(|source| Error::Unreadable { path: path.clone(), source })?;
        places.write(&path, &text)
    }

    pub(crate) fn get(&self, org: Option<&str>, name: &ImageName) -> Option<&Given> {
        self.0.get(&(org.map(str::to_owned), name.clone()))
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Given> {
        self.0.values()
    }

    /// Those of one owner, but for one of them.
    pub(crate) fn beside<'n>(
        &'n self,
        org: Option<&'n str>,
        name: &'n ImageName,
    ) -> impl Iterator<Item = &'n Given> {
        self.all().filter(move |given| given.org.as_deref() == org && given.name != *name)
    }

    pub(crate) fn has_room(&self, org: Option<&str>, name: &ImageName) -> bool {
        let of_owner = self.all().filter(|given| given.org.as_deref() == org).count();
        of_owner < MAX_NAMES || self.get(org, name).is_some()
    }

    pub(crate) fn set(&mut self, given: Given) -> Result<()> {
        if !self.has_room(given.org.as_deref(), &given.name) {
            return Err(Error::TooManyNames(MAX_NAMES));
        }
        self.0.insert(key(&given), given);
        Ok(())
    }

    pub(crate) fn remove(&mut self, org: Option<&str>, name: &ImageName) -> bool {
        self.0.remove(&(org.map(str::to_owned), name.clone())).is_some()
    }

    pub(crate) fn keep(&mut self, wanted: impl Fn(&Given) -> bool) {
        self.0.retain(|_, given| wanted(given));
    }
}

fn key(given: &Given) -> (Option<String>, ImageName) {
    (given.org.clone(), given.name.clone())
}
