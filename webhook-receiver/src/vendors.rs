//! The vendor accounts a process takes reports from.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use pabal_common::domain::report::VendorAccount;
use pabal_provider::Provider;

/// The adapters, by account. Clones share them.
#[derive(Clone, Default)]
pub struct Vendors(Arc<BTreeMap<VendorAccount, Arc<dyn Provider>>>);

impl Vendors {
    /// These adapters; of two for the same account the later one.
    pub fn new(adapters: impl IntoIterator<Item = Arc<dyn Provider>>) -> Self {
        let by_account = adapters
            .into_iter()
            .map(|adapter| (adapter.account().clone(), adapter));
        Self(Arc::new(by_account.collect()))
    }

    /// Every adapter, in the order of the accounts.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<dyn Provider>> {
        self.0.values()
    }
}

impl fmt::Debug for Vendors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
