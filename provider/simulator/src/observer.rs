//! Who wants to know what happens while it happens.

use std::fmt;

use pabal_common::domain::id::MessageId;

/// Is told what the vendors do. It is called on their own path, so it has to be quick.
pub trait Observer: fmt::Debug + Send + Sync {
    /// A vendor took these messages; its answer is still to come.
    fn took(&self, messages: &mut dyn Iterator<Item = MessageId>);

    /// A vendor is about to tell, for the first time, what became of these messages: in a callback,
    /// or in what is polled.
    fn reports(&self, messages: &mut dyn Iterator<Item = MessageId>);
}
