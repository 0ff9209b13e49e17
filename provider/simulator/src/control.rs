//! The control port: the same verbs as [`Simulator`](crate::Simulator), over HTTP, for tests in
//! other processes. No password: it is meant for loopback.
//!
//! | request | does |
//! |---|---|
//! | `GET /control/taken?after=&limit=` | `{taken, total}`: what was taken, oldest first |
//! | `GET /control/duplicates` | `{duplicates}`: what was taken more than once |
//! | `GET /control/vendors` | `{<family>: {baseUrl, door}}` |
//! | `POST /control/doors/<family>/shut`, `open`, `hang` | moves a vendor's door |
//! | `POST /control/script/<family>` | a JSON array of [`NextAnswer`]: forces the next answers |
//! | `POST /control/callbacks` | `{base}`: where callbacks go |
//!
//! A family that was not started is answered with 404.

use std::collections::BTreeMap;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use crate::door::DoorState;
use crate::family::Family;
use crate::record::{Duplicate, Taken};
use crate::script::NextAnswer;
use crate::vendor::Vendor;
use crate::vendors::{NotStarted, Vendors};

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    after: usize,
    #[serde(default = "everything")]
    limit: usize,
}

const fn everything() -> usize {
    usize::MAX
}

#[derive(Serialize)]
struct TakenPage {
    taken: Vec<Taken>,
    total: usize,
}

#[derive(Serialize)]
struct Duplicates {
    duplicates: Vec<Duplicate>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct VendorState {
    base_url: String,
    door: DoorState,
}

#[derive(Deserialize)]
struct Callbacks {
    base: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Move {
    Shut,
    Open,
    Hang,
}

pub(crate) fn router(vendors: Vendors) -> Router {
    Router::new()
        .route("/control/taken", get(taken))
        .route("/control/duplicates", get(duplicates))
        .route("/control/vendors", get(state))
        .route("/control/doors/{family}/{to}", post(door))
        .route("/control/script/{family}", post(script))
        .route("/control/callbacks", post(callbacks))
        .with_state(vendors)
}

async fn taken(State(vendors): State<Vendors>, Query(page): Query<Page>) -> Json<TakenPage> {
    Json(TakenPage {
        total: vendors.record.len(),
        taken: vendors.record.taken(page.after, page.limit),
    })
}

async fn duplicates(State(vendors): State<Vendors>) -> Json<Duplicates> {
    Json(Duplicates {
        duplicates: vendors.record.duplicates(),
    })
}

async fn state(State(vendors): State<Vendors>) -> Json<BTreeMap<Family, VendorState>> {
    let state_of = |vendor: &Vendor| VendorState {
        base_url: vendor.base_url(),
        door: vendor.door.state(),
    };
    let started = vendors.started.iter();
    Json(
        started
            .map(|(family, vendor)| (*family, state_of(vendor)))
            .collect(),
    )
}

async fn door(
    State(vendors): State<Vendors>,
    Path((family, to)): Path<(Family, Move)>,
) -> Result<(), NotStarted> {
    let door = &vendors.get(family)?.door;
    match to {
        Move::Shut => door.shut().await,
        Move::Open => door.open().await,
        Move::Hang => door.hang().await,
    }
    Ok(())
}

async fn script(
    State(vendors): State<Vendors>,
    Path(family): Path<Family>,
    Json(answers): Json<Vec<NextAnswer>>,
) -> Result<(), NotStarted> {
    vendors.get(family)?.script(answers);
    Ok(())
}

async fn callbacks(State(vendors): State<Vendors>, Json(to): Json<Callbacks>) -> StatusCode {
    vendors.set_callback_base(&to.base);
    StatusCode::NO_CONTENT
}

impl IntoResponse for NotStarted {
    fn into_response(self) -> Response {
        (StatusCode::NOT_FOUND, self.to_string()).into_response()
    }
}
