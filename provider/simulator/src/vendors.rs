//! The vendors that were started and what they share.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use crate::family::Family;
use crate::record::Record;
use crate::vendor::Vendor;

/// The family is not among those that were started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the simulated vendor {0} was not started")]
pub struct NotStarted(pub Family);

#[derive(Clone)]
pub(crate) struct Vendors {
    pub(crate) started: BTreeMap<Family, Arc<Vendor>>,
    pub(crate) record: Arc<Record>,
    pub(crate) callback_base: watch::Sender<Option<String>>,
}

impl Vendors {
    pub(crate) fn get(&self, family: Family) -> Result<&Vendor, NotStarted> {
        let vendor = self.started.get(&family).ok_or(NotStarted(family))?;
        Ok(vendor)
    }

    pub(crate) fn set_callback_base(&self, base: &str) {
        let _ = self.callback_base.send_replace(Some(base.to_owned()));
    }
}
