//! The routes by their places, which stay theirs: a call that is on its way belongs to its place,
//! whatever becomes of the routes meanwhile.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::spec::RouteSpec;
use super::state::Seat;
use crate::Provider;

/// A route: an account at a vendor, and the rules for using it.
pub struct Route {
    at: usize,
    spec: RouteSpec,
    provider: Arc<dyn Provider>,
}

impl Route {
    /// Its name, unique in the book.
    pub fn name(&self) -> &str {
        self.spec.name()
    }

    /// Its settings.
    pub fn spec(&self) -> &RouteSpec {
        &self.spec
    }

    /// Who carries its calls.
    pub fn provider(&self) -> &Arc<dyn Provider> {
        &self.provider
    }

    /// Its place in the book.
    pub(super) fn at(&self) -> usize {
        self.at
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route").field("spec", &self.spec).finish()
    }
}

/// Every route there ever was in this process.
pub(super) struct Shelf {
    places: Vec<Arc<Route>>,
    in_use: Arc<[Arc<Route>]>,
}

impl Default for Shelf {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            in_use: Arc::new([]),
        }
    }
}

impl Shelf {
    /// A route by its place.
    pub(super) fn at(&self, place: usize) -> Arc<Route> {
        Arc::clone(&self.places[place])
    }

    /// The routes that are used, in the order of the configuration.
    pub(super) fn in_use(&self) -> Arc<[Arc<Route>]> {
        Arc::clone(&self.in_use)
    }

    /// The shelf on which these routes are used, and where each of them is. A name that was there
    /// before gets its place again.
    pub(super) fn arranged(
        &self,
        routes: Vec<(RouteSpec, Arc<dyn Provider>)>,
        paused: &BTreeSet<String>,
    ) -> (Self, Vec<Seat>) {
        let mut places = self.places.clone();
        let (mut in_use, mut seats) = (Vec::new(), Vec::new());
        for (spec, provider) in routes {
            let known = places.iter().position(|route| route.name() == spec.name());
            let at = known.unwrap_or(places.len());
            let before = known.map(|at| places[at].provider().account());
            seats.push(Seat {
                at,
                spec: spec.clone(),
                batch: provider.capabilities().batch,
                anew: before != Some(provider.account()),
                paused: paused.contains(spec.name()),
            });
            let route = Arc::new(Route { at, spec, provider });
            in_use.push(Arc::clone(&route));
            match known {
                Some(at) => places[at] = route,
                None => places.push(route),
            }
        }
        let in_use = in_use.into();
        (Self { places, in_use }, seats)
    }
}
