//! The caller's id in the UUID that a message comes with: a UUID of version 8 whose first three
//! groups and next four bits, without version and variant, hold it; the rest says "pabal".

use pabal_common::domain::id::MessageId;

const REST: u128 = 0x70_61_62_61_6c;

/// The id in a UUID; `None` if it is none, or one that the simulator cannot witness.
pub(super) fn read(uuid: &str) -> Option<MessageId> {
    let bits = u128::from_str_radix(&uuid.replace('-', ""), 16).ok()?;
    let number = (bits >> 80) << 16 | (bits >> 64 & 0xfff) << 4 | bits >> 58 & 0xf;
    let message = MessageId::from_number(u64::try_from(number).ok()?);
    (write(message) == uuid).then_some(message)
}

/// The UUID that a message came with.
pub(super) fn write(message: MessageId) -> String {
    let number = message.number();
    format!(
        "{:08x}-{:04x}-8{:03x}-{:04x}-{:012x}",
        number >> 32,
        number >> 16 & 0xffff,
        number >> 4 & 0xfff,
        0x8000 | (number & 0xf) << 10,
        REST,
    )
}
