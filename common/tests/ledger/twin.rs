//! One message twice: as a row of the ledger, moved by the port's methods, and as the pure row,
//! moved by the phase machine. After every event both must say the same.

use pabal_common::broker::Member;
use pabal_common::domain::id::{InstanceId, MessageId, SubmissionId};
use pabal_common::domain::kind::MessageType;
use pabal_common::domain::phase::{Effect, Event, Phase, Row, Settled, Step, step};
use pabal_common::domain::report::{Report, VendorAccount, VendorMessageId, Verdict};
use pabal_common::domain::status::Status;
use pabal_common::ledger::{Applied, Claim, DueGroup, Hold, Overdue, Settlement, WatchedStatus};

use crate::stack::{Fixture, Hidden, YEAR, members, reports};

/// Which call an event speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Current,
    Earlier,
}

/// Something done to the message, in words that do not depend on where it is.
#[derive(Clone, Debug)]
pub(crate) enum Deed {
    Claim {
        other_owner: bool,
        other_account: bool,
        stale: bool,
    },
    Hold {
        stale: bool,
        faulty: bool,
    },
    Taken(Call, Option<u8>),
    Final(Call, Verdict, Option<u8>),
    NotTaken(Call, bool),
    Lost(Call, bool),
    TakeOver(Call, bool),
    Release,
    TakeAsks,
    Restore,
    Report(Said),
    Deadline,
}

/// A report.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) other_account: bool,
    pub(crate) vendor_id: Option<u8>,
    pub(crate) by_our_id: bool,
    pub(crate) call: Option<Call>,
    pub(crate) verdict: Verdict,
}

pub(crate) struct Twin<'a> {
    it: &'a Fixture,
    other: InstanceId,
    pub(crate) id: MessageId,
    pub(crate) row: Row,
    calls: u64,
    claimed: bool,
    retry: Option<u16>,
    ask: bool,
    ending: Option<Effect>,
    strays: usize,
}

impl<'a> Twin<'a> {
    /// A message that was just accepted.
    pub(crate) async fn new(it: &'a Fixture, other: InstanceId) -> Self {
        Self {
            it,
            other,
            id: it.one().await,
            row: Row::accepted(),
            calls: 0,
            claimed: false,
            retry: None,
            ask: false,
            ending: None,
            strays: 0,
        }
    }

    /// Does it to both, and compares what the ledger answered with what the machine says.
    pub(crate) async fn go(&mut self, deed: &Deed) {
        match deed {
            Deed::Claim {
                other_owner,
                other_account,
                stale,
            } => {
                self.claim(*other_owner, *other_account, *stale).await;
            }
            Deed::Hold { stale, faulty } => self.hold(*stale, *faulty).await,
            Deed::Taken(call, vendor_id) => {
                let settled = Settled::Taken(self.vendor_id(*vendor_id));
                self.settle(*call, settled, false).await;
            }
            Deed::Final(call, verdict, vendor_id) => {
                let settled = Settled::Final(*verdict, self.vendor_id(*vendor_id));
                self.settle(*call, settled, false).await;
            }
            Deed::NotTaken(call, charged) => {
                self.settle(*call, Settled::NotTaken { charged: *charged }, false)
                    .await;
            }
            Deed::Lost(call, askable) => self.settle(*call, Settled::Lost, *askable).await,
            Deed::TakeOver(call, askable) => self.take_over(*call, *askable).await,
            Deed::Release => self.release().await,
            Deed::TakeAsks => self.take_asks().await,
            Deed::Restore => self.restore().await,
            Deed::Report(said) => self.report(said).await,
            Deed::Deadline => self.deadline().await,
        }
    }

    async fn claim(&mut self, other_owner: bool, other_account: bool, stale: bool) {
        let attempt = self.attempt(stale);
        let wish = Claim {
            submission: SubmissionId::from_number(self.calls + 1),
            route: "sms-a".into(),
            account: account(other_account),
            members: vec![Member {
                id: self.id,
                attempt,
            }],
        };
        let owner = if other_owner { self.other } else { self.it.me };
        let got = self
            .it
            .ledger
            .claim(owner, std::slice::from_ref(&wish), self.it.now())
            .await;
        let moved = self.step(&Event::Claim {
            owner,
            submission: wish.submission,
            account: wish.account.clone(),
            attempt,
        });
        let got: Vec<_> = got.unwrap()[0]
            .messages
            .iter()
            .map(|m| (m.id, m.attempt))
            .collect();
        match moved {
            Some(_) => {
                self.calls += 1;
                self.claimed = true;
                assert_eq!(got, [(self.id, attempt)]);
            }
            None => assert_eq!(got, []),
        }
    }

    async fn hold(&mut self, stale: bool, faulty: bool) {
        let attempt = self.attempt(stale);
        let (members, now) = (
            [Member {
                id: self.id,
                attempt,
            }],
            self.it.now(),
        );
        let why = if faulty { Hold::Faulty } else { Hold::NoRoute };
        self.it
            .ledger
            .hold(MessageType::Sms, &members, why, now, now)
            .await
            .unwrap();
        self.step(&Event::Hold { attempt, faulty });
    }

    async fn settle(&mut self, call: Call, settled: Settled, askable: bool) {
        let Some(submission) = self.call(call) else {
            return;
        };
        let due = match settled {
            Settled::Lost => askable.then(|| self.it.now()),
            _ => Some(self.it.now()),
        };
        let settlement = Settlement {
            due,
            tell_sent: true,
            account: self.row.account.clone().unwrap_or_else(|| account(false)),
            ..self.it.settlement(self.id, submission, settled.clone())
        };
        let dispatch = self.it.settle(&[settlement]).await;
        let moved = self.step_asking(
            &Event::Settle {
                submission,
                settled: settled.clone(),
            },
            askable,
        );
        let told: Vec<_> = reports(&dispatch)
            .iter()
            .map(|r| (r.message, r.submission, r.verdict))
            .collect();
        let expected = match (&moved, settled) {
            (Some(_), Settled::Taken(_)) => vec![Verdict::Taken],
            (Some(step), Settled::Final(verdict, _)) => {
                assert!(step.effects.contains(&Effect::Report));
                vec![verdict]
            }
            _ => vec![],
        };
        let expected: Vec<_> = expected
            .into_iter()
            .map(|v| (Some(self.id), Some(submission), v))
            .collect();
        assert_eq!(told, expected);
    }

    async fn take_over(&mut self, call: Call, askable: bool) {
        let Some(submission) = self.call(call) else {
            return;
        };
        let ask_at = askable.then(|| self.it.now());
        let claims = [(self.id, submission, ask_at)];
        let taken = self
            .it
            .ledger
            .take_over(&claims, "gone", self.it.now())
            .await
            .unwrap();
        let moved = self.step_asking(&Event::TakeOver { submission }, askable);
        assert_eq!(taken, u32::from(moved.is_some()));
    }

    async fn release(&mut self) {
        let groups = [DueGroup {
            kind: MessageType::Sms,
            limit: 10_000,
        }];
        let (outbox, later) = (self.it.ids.outbox(), self.it.now().plus(YEAR));
        let dispatch = self
            .it
            .ledger
            .release_due(self.it.me, outbox, &groups, later)
            .await
            .unwrap();
        let moved = match self.retry.take() {
            Some(attempt) => self.step(&Event::Release { attempt }),
            None => None,
        };
        let frames = dispatch.map(|dispatch| dispatch.frames).unwrap_or_default();
        let mine: Vec<_> = members(&frames)
            .into_iter()
            .filter(|member| member.id == self.id)
            .collect();
        match moved {
            Some(_) => assert_eq!(
                mine,
                [Member {
                    id: self.id,
                    attempt: self.row.attempt
                }]
            ),
            None => assert_eq!(mine, []),
        }
    }

    async fn take_asks(&mut self) {
        let later = self.it.now().plus(YEAR);
        let asks = self
            .it
            .ledger
            .take_asks(later, later, 10_000)
            .await
            .unwrap();
        self.ask &= self.row.phase == Phase::Unknown;
        let mine: Vec<_> = asks.into_iter().filter(|ask| ask.id == self.id).collect();
        assert_eq!(mine.len(), usize::from(self.ask));
        for ask in mine {
            assert_eq!(Some(ask.submission), self.row.submission);
            assert_eq!(Some(ask.account), self.row.account);
            assert_eq!(ask.vendor_id, self.row.vendor_id);
        }
    }

    async fn restore(&mut self) {
        self.it.ledger.restored(0, self.it.now()).await.unwrap();
        // Whom to ask is known only for a message that was claimed before the backup.
        let askable = self.row.account.is_some();
        let moved = self.step_asking(&Event::Restore, askable);
        self.claimed |= moved.is_some();
        self.retry = None;
    }

    async fn report(&mut self, said: &Said) {
        let report = Report {
            account: account(said.other_account),
            vendor_id: self.vendor_id(said.vendor_id),
            message: said.by_our_id.then_some(self.id),
            submission: said.call.and_then(|call| self.call(call)),
            verdict: said.verdict,
            vendor_code: Some("4430".into()),
            occurred_at: self.it.now(),
        };
        let by_vendor_id = report.vendor_id.is_some()
            && self.row.vendor_id == report.vendor_id
            && self.row.account.as_ref() == Some(&report.account);
        let outcome = self.it.apply(std::slice::from_ref(&report)).await;
        if !said.by_our_id && !by_vendor_id {
            assert_eq!(outcome.applied, [Applied::Unmatched]);
            return;
        }
        let moved = self.step(&Event::Report {
            account: report.account,
            vendor_id: report.vendor_id,
            by_our_id: said.by_our_id,
            submission: report.submission,
            verdict: report.verdict,
        });
        let expected = match &moved {
            None => Applied::Nothing(self.id),
            Some(step) if step.effects == [Effect::Stray] => Applied::Stray(self.id),
            Some(_) => Applied::Moved(self.id),
        };
        assert_eq!(outcome.applied, [expected]);
        let ends = moved.is_some_and(|step| matches!(step.effects[..], [Effect::End(..)]));
        assert_eq!(outcome.ended, u32::from(ends));
    }

    async fn deadline(&mut self) {
        let (ids, later) = (self.it.webhook_ids(1), self.it.now().plus(YEAR));
        let limits = Overdue::default();
        let expired = self
            .it
            .ledger
            .expire(self.it.me, &[self.id], &ids, later, limits)
            .await;
        let moved = self.step(&Event::Deadline);
        if moved.is_some() {
            (self.retry, self.ask) = (None, false);
        }
        assert_eq!(expired.unwrap(), u32::from(moved.is_some()));
    }

    /// Brings the message to its end if it has none yet.
    pub(crate) async fn finish(&mut self) {
        if self.row.phase == Phase::Submitting {
            self.go(&Deed::TakeOver(Call::Current, false)).await;
        }
        self.go(&Deed::Deadline).await;
        self.check().await;
        assert_eq!(self.row.phase, Phase::Done);
    }

    /// Compares the ledger's row with the machine's.
    pub(crate) async fn check(&self) {
        let view = self.it.view(self.id).await;
        let seen = Row {
            phase: view.phase,
            status: view.status,
            attempt: view.attempt,
            owner: view.owner,
            submission: view.submission,
            account: view.account.as_deref().map(VendorAccount::from_stored),
            vendor_id: view.vendor_id.as_deref().and_then(VendorMessageId::new),
            verdict: None,
            route_closed: false,
        };
        let shown = Row {
            status: self.row.status.shown(self.claimed),
            verdict: None,
            route_closed: false,
            ..self.row.clone()
        };
        assert_eq!(seen, shown);

        let hidden = self.it.back.hidden(self.id).await;
        let open = self.row.phase != Phase::Done;
        let expected = Hidden {
            // Once it has ended, the row's reason is that of its end.
            verdict: if open {
                self.row.verdict
            } else {
                hidden.verdict
            },
            route_closed: if open {
                self.row.route_closed
            } else {
                hidden.route_closed
            },
            retry: self.retry,
            ask: self.ask,
        };
        assert_eq!(hidden, expected);

        let reason = match self.ending {
            Some(Effect::End(_, reason)) => reason,
            _ => None,
        };
        assert_eq!(view.reason, reason);
        assert_eq!(view.final_at.is_some(), !open);
        if self.row.status == Status::Sent || self.row.status == Status::Delivered {
            assert!(view.sent_at.is_some());
        }
        self.check_walk().await;
        let strays = self
            .it
            .events(self.id)
            .await
            .iter()
            .filter(|k| *k == "STRAY_REPORT")
            .count();
        assert_eq!(strays, self.strays);
    }

    /// A walk meets it exactly in the part of its status, as it is.
    async fn check_walk(&self) {
        let before = MessageId::from_number(self.id.number() - 1);
        let parts = [
            (WatchedStatus::Received, Status::Received),
            (WatchedStatus::Sent, Status::Sent),
        ];
        for (part, status) in parts {
            let met = self.it.ledger.walk(part, Some(before), 1).await.unwrap();
            let mine = met.into_iter().find(|watched| watched.id == self.id);
            assert_eq!(mine.is_some(), self.row.status == status);
            let Some(mine) = mine else { continue };
            assert_eq!(mine.phase, self.row.phase);
            assert_eq!(mine.attempt, self.row.attempt);
            assert_eq!(mine.owner, self.row.owner);
            assert_eq!(mine.submission, self.row.submission);
            assert_eq!(mine.account, self.row.account);
            assert_eq!(mine.answered_at.is_some(), self.row.verdict.is_some());
        }
    }

    fn step(&mut self, event: &Event) -> Option<Step> {
        self.step_asking(event, false)
    }

    /// Moves the pure row and keeps book of what must have been written with the move.
    fn step_asking(&mut self, event: &Event, askable: bool) -> Option<Step> {
        let moved = step(&self.row, event)?;
        self.row = moved.row.clone();
        for effect in &moved.effects {
            match effect {
                Effect::Delay => self.retry = Some(self.row.attempt),
                Effect::Ask => self.ask |= askable,
                Effect::End(..) => {
                    assert_eq!(self.ending, None);
                    self.ending = Some(*effect);
                }
                Effect::Stray => self.strays += 1,
                Effect::Enqueue | Effect::Report => {}
            }
        }
        Some(moved)
    }

    fn attempt(&self, stale: bool) -> u16 {
        self.row.attempt + u16::from(stale)
    }

    /// The id of the call it was claimed for last, or of the one before it.
    fn call(&self, call: Call) -> Option<SubmissionId> {
        let number = match call {
            Call::Current => self.calls,
            Call::Earlier => self.calls.checked_sub(1)?,
        };
        (number > 0).then(|| SubmissionId::from_number(number))
    }

    /// A vendor id that no other message has.
    fn vendor_id(&self, number: Option<u8>) -> Option<VendorMessageId> {
        VendorMessageId::new(&format!("{}-{}", self.id, number?))
    }
}

fn account(other: bool) -> VendorAccount {
    VendorAccount::new("carrier", if other { "other" } else { "main" })
}
