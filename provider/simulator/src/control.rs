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

use std::collections::BTreeMap;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use crate::door::DoorState;
use crate::family::Family;
use crate::record::{Duplicate, Taken};
use crate::script::NextAnswer;
use crate::vendors::Vendors;

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
    let of_family = |family| {
        let door = &vendors.get(family).door;
        let state = VendorState {
            base_url: format!("http://{}", door.address()),
            door: door.state(),
        };
        (family, state)
    };
    Json(Family::ALL.into_iter().map(of_family).collect())
}

async fn door(State(vendors): State<Vendors>, Path((family, to)): Path<(Family, Move)>) {
    let door = &vendors.get(family).door;
    match to {
        Move::Shut => door.shut().await,
        Move::Open => door.open().await,
        Move::Hang => door.hang().await,
    }
}

async fn script(
    State(vendors): State<Vendors>,
    Path(family): Path<Family>,
    Json(answers): Json<Vec<NextAnswer>>,
) {
    vendors.get(family).script(answers);
}

async fn callbacks(State(vendors): State<Vendors>, Json(to): Json<Callbacks>) -> StatusCode {
    vendors.set_callback_base(&to.base);
    StatusCode::NO_CONTENT
}
