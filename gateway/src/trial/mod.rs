//! Trials: the real program under load while something goes wrong, and the comparison of every book
//! afterwards. The witnesses, the vendors' record of what they took and the partner's of what it was
//! promised and told, live outside the program and outlive whatever is done to it.

pub mod books;
pub mod endpoint;
pub mod load;
pub mod proxy;
pub mod site;
