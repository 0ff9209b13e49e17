//! What a broker message holds: Protobuf, versioned.
//!
//! A reader refuses a version it does not know and leaves the frame to others; field numbers are
//! never reused.

use bytes::Bytes;
use prost::Message as _;

use super::QueueName;
use crate::clock::Timestamp;
use crate::domain::id::{MessageId, SubmissionId};
use crate::domain::kind::MessageType;
use crate::domain::report::{Report, VendorAccount, VendorMessageId, Verdict};

/// The newest frame version that this program reads and writes.
pub const FRAME_VERSION: u32 = FrameVersion::NEWEST.0;

/// A version in which this program writes frames. One that has more to say than the one before is
/// written by an arm of its own in `encode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FrameVersion(u32);

impl FrameVersion {
    /// The oldest.
    pub const OLDEST: Self = Self(1);
    /// The newest.
    pub const NEWEST: Self = Self(1);

    /// The newest that can be read by whoever reads versions up to `newest_read`.
    ///
    /// # Errors
    /// [`ReadersTooOld`] if this program writes none so old.
    pub fn read_with(newest_read: u32) -> Result<Self, ReadersTooOld> {
        if newest_read < Self::OLDEST.0 {
            return Err(ReadersTooOld { newest_read });
        }
        Ok(Self(newest_read.min(Self::NEWEST.0)))
    }

    /// As if there were this one.
    #[cfg(test)]
    pub(crate) const fn pretended(number: u32) -> Self {
        Self(number)
    }
}

/// What everybody reads.
impl Default for FrameVersion {
    fn default() -> Self {
        Self::OLDEST
    }
}

/// No frame can be written that they read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "frames are read up to version {newest_read} only, and written from version {} on",
    FrameVersion::OLDEST.0
)]
pub struct ReadersTooOld {
    /// The newest version that all of them read.
    pub newest_read: u32,
}

/// The most ids in one frame.
pub const FRAME_IDS: usize = 128;

/// Why a frame cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Written by a newer program.
    #[error("frame version {0} is newer than {FRAME_VERSION}")]
    Newer(u32),
    /// Not a frame.
    #[error("not a frame: {0}")]
    Garbled(String),
}

/// One message of a send frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The message.
    pub id: MessageId,
    /// The attempt it is queued for; a row at another attempt is not for this frame.
    pub attempt: u16,
}

/// 1..=[`FRAME_IDS`] messages of one type for a sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendFrame {
    /// The type of every member.
    pub kind: MessageType,
    /// When the members were put into the queue.
    pub queued_at: Timestamp,
    /// The members.
    pub members: Vec<Member>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireSend {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(uint32, tag = "2")]
    kind: u32,
    #[prost(int64, tag = "3")]
    queued_at: i64,
    #[prost(fixed64, repeated, tag = "4")]
    ids: Vec<u64>,
    /// Empty when every attempt is 0, as at acceptance.
    #[prost(uint32, repeated, tag = "5")]
    attempts: Vec<u32>,
}

impl SendFrame {
    /// Encodes the frame.
    pub fn encode(&self, version: FrameVersion) -> Bytes {
        let first = self.members.iter().all(|member| member.attempt == 0);
        let attempts = self.members.iter().map(|member| u32::from(member.attempt));
        let wire = WireSend {
            version: version.0,
            kind: u32::from(self.kind.number()),
            queued_at: self.queued_at.millis(),
            ids: self
                .members
                .iter()
                .map(|member| member.id.number())
                .collect(),
            attempts: if first {
                Vec::new()
            } else {
                attempts.collect()
            },
        };
        wire.encode_to_vec().into()
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// [`FrameError`] if it is newer than this program or not a frame.
    pub fn decode(body: &Bytes) -> Result<Self, FrameError> {
        let wire = WireSend::decode(body.as_ref()).map_err(garbled)?;
        check_version(wire.version)?;
        let kind = u8::try_from(wire.kind)
            .ok()
            .and_then(MessageType::from_number)
            .ok_or_else(|| FrameError::Garbled(format!("message type {}", wire.kind)))?;
        let attempt = |place: usize| {
            let attempt = wire.attempts.get(place).copied().unwrap_or(0);
            u16::try_from(attempt).unwrap_or(u16::MAX)
        };
        let members = wire
            .ids
            .iter()
            .enumerate()
            .map(|(place, id)| Member {
                id: MessageId::from_number(*id),
                attempt: attempt(place),
            })
            .collect();
        Ok(Self {
            kind,
            queued_at: Timestamp::from_millis(wire.queued_at),
            members,
        })
    }

    /// The publications that bring `members` to `queue`, [`FRAME_IDS`] at a time.
    pub fn publications(
        queue: QueueName,
        kind: MessageType,
        queued_at: Timestamp,
        members: &[Member],
        version: FrameVersion,
    ) -> Vec<super::Publication> {
        members
            .chunks(FRAME_IDS)
            .map(|chunk| super::Publication {
                queue,
                body: Self {
                    kind,
                    queued_at,
                    members: chunk.to_vec(),
                }
                .encode(version),
            })
            .collect()
    }
}

/// Reports for the reporter, already normalised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportFrame {
    /// 1..=[`FRAME_IDS`] reports.
    pub reports: Vec<Report>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireReports {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(message, repeated, tag = "2")]
    reports: Vec<WireReport>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireReport {
    #[prost(string, tag = "1")]
    account: String,
    #[prost(string, tag = "2")]
    vendor_id: String,
    #[prost(fixed64, tag = "3")]
    message: u64,
    #[prost(fixed64, tag = "4")]
    submission: u64,
    #[prost(string, tag = "5")]
    verdict: String,
    #[prost(string, tag = "6")]
    reason: String,
    #[prost(string, tag = "7")]
    vendor_code: String,
    #[prost(int64, tag = "8")]
    occurred_at: i64,
}

impl ReportFrame {
    /// Encodes the frame.
    pub fn encode(&self, version: FrameVersion) -> Bytes {
        let reports = self.reports.iter().map(to_wire).collect();
        WireReports {
            version: version.0,
            reports,
        }
        .encode_to_vec()
        .into()
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// [`FrameError`] if it is newer than this program or not a frame.
    pub fn decode(body: &Bytes) -> Result<Self, FrameError> {
        let wire = WireReports::decode(body.as_ref()).map_err(garbled)?;
        check_version(wire.version)?;
        let reports = wire
            .reports
            .into_iter()
            .map(from_wire)
            .collect::<Result<_, _>>()?;
        Ok(Self { reports })
    }

    /// The publications that bring `reports` to the report queue, [`FRAME_IDS`] at a time.
    pub fn publications(reports: &[Report], version: FrameVersion) -> Vec<super::Publication> {
        reports
            .chunks(FRAME_IDS)
            .map(|chunk| super::Publication {
                queue: QueueName::Report,
                body: Self {
                    reports: chunk.to_vec(),
                }
                .encode(version),
            })
            .collect()
    }
}

fn to_wire(report: &Report) -> WireReport {
    WireReport {
        account: report.account.to_string(),
        vendor_id: report
            .vendor_id
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        message: report.message.map_or(0, MessageId::number),
        submission: report.submission.map_or(0, SubmissionId::number),
        verdict: report.verdict.name().to_owned(),
        reason: report
            .verdict
            .reason()
            .map(|r| r.name().to_owned())
            .unwrap_or_default(),
        vendor_code: report.vendor_code.clone().unwrap_or_default(),
        occurred_at: report.occurred_at.millis(),
    }
}

fn from_wire(wire: WireReport) -> Result<Report, FrameError> {
    let verdict = Verdict::from_stored(&wire.verdict, Some(&wire.reason))
        .ok_or_else(|| FrameError::Garbled(format!("verdict {}", wire.verdict)))?;
    Ok(Report {
        account: VendorAccount::from_stored(&wire.account),
        vendor_id: VendorMessageId::new(&wire.vendor_id),
        message: (wire.message != 0).then(|| MessageId::from_number(wire.message)),
        submission: (wire.submission != 0).then(|| SubmissionId::from_number(wire.submission)),
        verdict,
        vendor_code: Some(wire.vendor_code).filter(|code| !code.is_empty()),
        occurred_at: Timestamp::from_millis(wire.occurred_at),
    })
}

fn check_version(version: u32) -> Result<(), FrameError> {
    match version {
        0 => Err(FrameError::Garbled("no version".into())),
        1..=FRAME_VERSION => Ok(()),
        newer => Err(FrameError::Newer(newer)),
    }
}

fn garbled(error: prost::DecodeError) -> FrameError {
    FrameError::Garbled(error.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::reason::Reason;

    proptest! {
        #[test]
        fn a_send_frame_reads_back(ids in proptest::collection::vec((any::<u64>(), 0_u16..5), 1..129), at in 0_i64..4_000_000_000_000) {
            let members = ids.iter().map(|&(id, attempt)| Member { id: MessageId::from_number(id), attempt }).collect();
            let frame = SendFrame { kind: MessageType::Rcs, queued_at: Timestamp::from_millis(at), members };
            prop_assert_eq!(SendFrame::decode(&frame.encode(FrameVersion::NEWEST)), Ok(frame));
        }

        #[test]
        fn garbage_is_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let body = Bytes::from(bytes);
            let _ = SendFrame::decode(&body);
            let _ = ReportFrame::decode(&body);
        }
    }

    #[test]
    fn a_report_frame_reads_back() {
        let report = Report {
            account: VendorAccount::new("carrier", "main"),
            vendor_id: VendorMessageId::new("C-1"),
            message: None,
            submission: Some(SubmissionId::from_number(9)),
            verdict: Verdict::Failed(Reason::Spam),
            vendor_code: Some("4430".into()),
            occurred_at: Timestamp::from_millis(17),
        };
        let frame = ReportFrame {
            reports: vec![report],
        };
        assert_eq!(
            ReportFrame::decode(&frame.encode(FrameVersion::NEWEST)),
            Ok(frame)
        );
    }

    #[test]
    fn a_newer_frame_is_told_from_garbage() {
        let newer = WireSend {
            version: FRAME_VERSION + 1,
            kind: 1,
            queued_at: 0,
            ids: vec![1],
            attempts: vec![],
        };
        let body = Bytes::from(newer.encode_to_vec());
        assert_eq!(
            SendFrame::decode(&body),
            Err(FrameError::Newer(FRAME_VERSION + 1))
        );
    }

    #[test]
    fn a_thousand_messages_make_eight_frames() {
        let members: Vec<_> = (0..1000)
            .map(|id| Member {
                id: MessageId::from_number(id),
                attempt: 0,
            })
            .collect();
        let queue = QueueName::of(MessageType::Sms, crate::domain::kind::Lane::Ordinary);
        let (at, version) = (Timestamp::default(), FrameVersion::NEWEST);
        let frames = SendFrame::publications(queue, MessageType::Sms, at, &members, version);
        assert_eq!(frames.len(), 8);
    }

    #[test]
    fn a_version_that_is_too_old_to_be_written_is_told() {
        assert_eq!(FrameVersion::read_with(9), Ok(FrameVersion::NEWEST));
        assert_eq!(FrameVersion::read_with(1), Ok(FrameVersion::OLDEST));
        assert_eq!(
            FrameVersion::read_with(0),
            Err(ReadersTooOld { newest_read: 0 })
        );
    }
}
