use std::time::Duration;

use axum::http::HeaderValue;

use super::*;
use crate::clock::ManualClock;
use crate::crypto::Keyring;
use crate::domain::text::Unencodable;
use crate::ledger::sqlite::SqliteLedger;
use crate::ledger::{NewPartner, Partner, Partners as _, WebhookSettings};

const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);
const HOUR: Duration = Duration::from_secs(3_600);

struct Door {
    access: Access,
    issuer: TokenIssuer,
    ledger: SqliteLedger,
    partner: Partner,
    _folder: tempfile::TempDir,
}

impl Door {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(NOW));
        let path = folder.path().join("ledger");
        let ledger = SqliteLedger::open(&path, clock).await.unwrap();
        let partner = Partner {
            id: "acme".parse().unwrap(),
            name: "Acme".into(),
            status: PartnerStatus::Active,
            secret_hash: String::new(),
            credential_version: 1,
            per_second: 100,
            express_per_second: 10,
            unencodable: Unencodable::Reject,
            webhook: WebhookSettings {
                batch: 1,
                ..WebhookSettings::default()
            },
            created_at: NOW,
        };
        let new = NewPartner {
            partner: partner.clone(),
            senders: vec!["0200000000".into()],
        };
        assert!(ledger.add_partner(&new).await.unwrap());
        let issuer = TokenIssuer::new(&Keyring::generate());
        Self {
            access: Access::new(issuer.clone(), Arc::new(ledger.clone())),
            issuer,
            ledger,
            partner,
            _folder: folder,
        }
    }

    fn token(&self, partner: &str, version: u32) -> String {
        let partner = partner.parse().unwrap();
        self.issuer.issue(&partner, version, NOW, HOUR)
    }

    async fn update(&mut self, change: impl FnOnce(&mut Partner)) {
        let read = self.partner.clone();
        change(&mut self.partner);
        let changed = self.ledger.update_partner(&read, &self.partner).await;
        assert!(changed.unwrap());
    }

    async fn authenticate(&self, header: &str, now: Timestamp) -> Result<Arc<Member>, ErrorReason> {
        let mut headers = HeaderMap::new();
        if !header.is_empty() {
            headers.insert(AUTHORIZATION, HeaderValue::from_str(header).unwrap());
        }
        let answer = self.access.authenticate(&headers, now).await;
        answer.map_err(|error| error.reason())
    }

    async fn refusal(&self, header: &str, now: Timestamp) -> ErrorReason {
        self.authenticate(header, now).await.err().unwrap()
    }
}

#[tokio::test]
async fn a_good_token_lets_its_partner_in_with_its_sender_numbers() {
    let door = Door::open().await;
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let header = format!("{scheme} {}", door.token("acme", 1));
        let member = door.authenticate(&header, NOW).await.unwrap();
        assert_eq!(member.partner, door.partner);
        assert!(member.may_send_from(&"02-0000-0000".parse().unwrap()));
        assert!(!member.may_send_from(&"02-0000-0001".parse().unwrap()));
    }
}

#[tokio::test]
async fn what_is_not_a_good_token_is_refused() {
    let door = Door::open().await;
    let token = door.token("acme", 1);
    let stranger = TokenIssuer::new(&Keyring::generate());
    let forged = stranger.issue(&door.partner.id, 1, NOW, HOUR);
    for (header, reason) in [
        (String::new(), ErrorReason::TokenMissing),
        (token.clone(), ErrorReason::TokenMissing),
        (format!("Basic {token}"), ErrorReason::TokenMissing),
        ("Bearer x".to_owned(), ErrorReason::TokenInvalid),
        (format!("Bearer {forged}"), ErrorReason::TokenInvalid),
    ] {
        assert_eq!(door.refusal(&header, NOW).await, reason, "{header}");
    }
    let good = format!("Bearer {token}");
    assert!(door.authenticate(&good, NOW).await.is_ok());
    assert_eq!(
        door.refusal(&good, NOW.plus(HOUR)).await,
        ErrorReason::TokenExpired
    );
}

#[tokio::test]
async fn of_two_authorization_headers_none_is_believed() {
    let door = Door::open().await;
    let good = HeaderValue::from_str(&format!("Bearer {}", door.token("acme", 1))).unwrap();
    for second in [good.clone(), HeaderValue::from_static("Basic x")] {
        let mut headers = HeaderMap::new();
        headers.append(AUTHORIZATION, good.clone());
        headers.append(AUTHORIZATION, second);
        let refused = door.access.authenticate(&headers, NOW).await.err().unwrap();
        assert_eq!(refused.reason(), ErrorReason::AuthorizationRepeated);
        assert_eq!(refused.code().name(), "E002");
        assert_eq!(refused.details()[0].actual, Some(2));
    }
}

#[tokio::test]
async fn a_good_token_of_an_unknown_or_disabled_partner_is_refused() {
    let mut door = Door::open().await;
    let unknown = format!("Bearer {}", door.token("nobody", 1));
    assert_eq!(
        door.refusal(&unknown, NOW).await,
        ErrorReason::PartnerNotFound
    );
    door.update(|partner| partner.status = PartnerStatus::Disabled)
        .await;
    let disabled = format!("Bearer {}", door.token("acme", 1));
    assert_eq!(
        door.refusal(&disabled, NOW).await,
        ErrorReason::PartnerDisabled
    );
}

#[tokio::test]
async fn a_token_newer_than_what_is_remembered_is_believed_at_once_and_the_older_no_more() {
    let mut door = Door::open().await;
    let old = format!("Bearer {}", door.token("acme", 1));
    assert!(door.authenticate(&old, NOW).await.is_ok());
    door.update(|partner| partner.credential_version = 2).await;
    let new = format!("Bearer {}", door.token("acme", 2));
    assert!(door.authenticate(&new, NOW).await.is_ok());
    assert_eq!(door.refusal(&old, NOW).await, ErrorReason::TokenInvalid);
}
