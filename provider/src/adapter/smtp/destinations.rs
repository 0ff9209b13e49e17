//! Every domain that mail goes to, each with its [`Destination`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::destination::{Admission, Destination, Seen, Windows};

/// The most domains remembered. Beyond it those are forgotten that are well and have no mail on its way.
const MOST: usize = 10_000;

/// The domains of one account, as this process knows them.
#[derive(Clone)]
pub(super) struct Destinations {
    windows: Windows,
    known: Arc<Mutex<HashMap<String, Destination>>>,
}

/// Room for one mail to a domain. Dropped without a word it counts as left well, because nothing is
/// known against the domain.
pub(super) struct Slot {
    domain: String,
    begun: Instant,
    seen: Seen,
    destinations: Destinations,
}

impl Destinations {
    pub(super) fn new(windows: Windows) -> Self {
        Self {
            windows,
            known: Arc::default(),
        }
    }

    /// Room for a mail to `domain`, or how long to wait for it.
    pub(super) fn admit(&self, domain: &str) -> Result<Slot, Duration> {
        let now = Instant::now();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains_key(domain) && known.len() >= MOST {
            known.retain(|_, one| !one.is_forgettable());
        }
        let destination = known
            .entry(domain.to_owned())
            .or_insert_with(|| Destination::new(self.windows, now));
        match destination.admit(now) {
            Admission::Wait(wait) => Err(wait),
            Admission::Go => Ok(Slot {
                domain: domain.to_owned(),
                begun: now,
                seen: Seen::Good,
                destinations: self.clone(),
            }),
        }
    }
}

impl Slot {
    /// What became of the mail, as far as the domain is concerned.
    pub(super) fn saw(&mut self, seen: Seen) {
        self.seen = seen;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let now = Instant::now();
        let known = &self.destinations.known;
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(destination) = known.get_mut(&self.domain) else {
            return;
        };
        let before = destination.health().name();
        destination.left(self.seen, now - self.begun, now);
        let after = destination.health().name();
        if before != after {
            tracing::info!(
                domain = self.domain,
                before,
                after,
                "a mail domain has changed its state"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_domain_waits_for_its_own_mails_alone() {
        let destinations = Destinations::new(Windows::up_to(1));
        let slot = destinations.admit("shop.example").unwrap();
        assert!(destinations.admit("shop.example").is_err());
        assert!(destinations.admit("other.example").is_ok());
        drop(slot);
        assert!(destinations.admit("shop.example").is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn domains_that_are_well_are_forgotten_and_those_that_are_not_stay() {
        let destinations = Destinations::new(Windows::up_to(1));
        destinations
            .admit("slow.example")
            .unwrap()
            .saw(Seen::Overloaded);
        for number in 0..MOST + 10 {
            destinations.admit(&format!("d{number}.example")).unwrap();
        }
        assert!(destinations.known.lock().unwrap().len() <= MOST);
        assert!(destinations.admit("slow.example").is_err());
    }
}
