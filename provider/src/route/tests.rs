//! The rules by properties, the book by what a sender sees of it.

mod book;
mod budget;
mod changes;
mod health;
mod lanes;
mod load;
mod probe;
mod vendor;
mod waiting;
