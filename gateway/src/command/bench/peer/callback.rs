//! Where peers bring their reports: notes whose each is, and answers what the peer wants to hear.

use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::http::request::Parts;

use crate::command::bench::endpoint::{Desk, Endpoint};
use crate::command::bench::witness::Mark;

/// The endpoint; it closes when it is dropped.
pub(super) struct Callbacks {
    url: String,
    reports: Arc<Reports>,
    _endpoint: Endpoint,
}

#[derive(Default)]
struct Reports {
    answer: OnceLock<Bytes>,
    book: Mutex<Book>,
}

/// The reports of one load.
#[derive(Default)]
struct Book {
    /// The mark of the load, by which its ids begin.
    mark: String,
    told: Vec<Mark>,
}

impl Callbacks {
    /// Listens on a free loopback port.
    pub(super) async fn open() -> io::Result<Self> {
        let reports = Arc::new(Reports::default());
        let reads: Arc<dyn Desk> = reports.clone();
        let endpoint = Endpoint::open(reads).await?;
        Ok(Self {
            url: format!("{}/report", endpoint.base()),
            reports,
            _endpoint: endpoint,
        })
    }

    /// Its address.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// What a callback is answered.
    pub(super) fn answer_with(&self, answer: &str) {
        let _ = self.reports.answer.set(Bytes::from(answer.to_owned()));
    }

    /// Forgets everything: a load with this mark begins. What comes late of another is not noted.
    pub(super) fn begin(&self, mark: &str) {
        let mark = mark.to_owned();
        self.reports.write(|book| {
            *book = Book {
                mark,
                told: Vec::new(),
            }
        });
    }

    /// How many came, repeats included.
    pub(super) fn len(&self) -> usize {
        self.reports.write(|book| book.told.len())
    }

    /// Every report so far, by the number of its message: in the order in which they came, repeats
    /// included.
    pub(super) fn so_far(&self) -> Vec<Mark> {
        self.reports.write(|book| book.told.clone())
    }
}

impl Reports {
    fn write<T>(&self, work: impl FnOnce(&mut Book) -> T) -> T {
        work(&mut self.book.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Desk for Reports {
    fn take(&self, head: &Parts, _body: &[u8]) -> (StatusCode, Bytes) {
        let query = head.uri.query().unwrap_or_default();
        let at = Instant::now();
        self.write(|book| {
            let number = number(query, &book.mark);
            book.told.extend(number.map(|id| Mark { id, at }));
        });
        // An id that nobody knows would only come again if it were refused.
        let answer = self.answer.get().cloned().unwrap_or_default();
        (StatusCode::OK, answer)
    }
}

/// The number of the message whose id, `MARK-NUMBER`, is in the query.
fn number(query: &str, mark: &str) -> Option<u64> {
    let mut parts = query.split('&');
    let id = parts.find_map(|part| part.strip_prefix("id="))?;
    let digits = id.strip_prefix(mark)?.strip_prefix('-')?;
    let all = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_of_a_callback_is_found_wherever_its_id_stands_in_the_query() {
        for query in [
            "id=m-000000000042",
            "id=m-000000000042&status=1",
            "a=b&id=m-000000000042",
        ] {
            assert_eq!(number(query, "m"), Some(42), "{query}");
        }
        for other in [
            "",
            "id=",
            "id=m-",
            "id=m-+42",
            "id=m-42x",
            "id=n-000000000042",
            "uid=m-000000000042",
        ] {
            assert_eq!(number(other, "m"), None, "{other}");
        }
    }

    #[tokio::test]
    async fn callbacks_are_noted_by_get_and_by_post_and_answered_as_the_peer_wants() {
        let callbacks = Callbacks::open().await.unwrap();
        callbacks.answer_with("ACK/Jasmin");
        callbacks.begin("m");
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = |id: &str| format!("{}?id={id}", callbacks.url());
        let got = client.get(url("m-000000000001")).send().await.unwrap();
        assert_eq!(got.status(), 200);
        assert_eq!(got.text().await.unwrap(), "ACK/Jasmin");
        let post = client.post(url("m-000000000002")).body("message_status=x");
        assert_eq!(post.send().await.unwrap().status(), 200);
        let late = client.get(url("warm-000000000003")).send().await.unwrap();
        assert_eq!(late.status(), 200, "a repeat would not help");
        let ids: Vec<_> = callbacks.so_far().iter().map(|mark| mark.id).collect();
        assert_eq!(ids, [1, 2]);
        callbacks.begin("n");
        assert_eq!(callbacks.len(), 0);
    }
}
