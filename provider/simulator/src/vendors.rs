//! The four vendors and what they share.

use std::sync::Arc;

use tokio::sync::watch;

use crate::family::Family;
use crate::record::Record;
use crate::vendor::Vendor;

#[derive(Clone)]
pub(crate) struct Vendors {
    pub(crate) carrier: Arc<Vendor>,
    pub(crate) rcshub: Arc<Vendor>,
    pub(crate) kakao: Arc<Vendor>,
    pub(crate) talk: Arc<Vendor>,
    pub(crate) record: Arc<Record>,
    pub(crate) callback_base: watch::Sender<Option<String>>,
}

impl Vendors {
    pub(crate) const fn get(&self, family: Family) -> &Arc<Vendor> {
        match family {
            Family::Carrier => &self.carrier,
            Family::Rcshub => &self.rcshub,
            Family::Kakao => &self.kakao,
            Family::Talk => &self.talk,
        }
    }

    pub(crate) fn set_callback_base(&self, base: &str) {
        let _ = self.callback_base.send_replace(Some(base.to_owned()));
    }
}
