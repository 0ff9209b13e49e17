//! The SMPP adapter against a message centre that nobody here wrote; see the tests.
