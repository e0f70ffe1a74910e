//! The contracts of OpenFaaS's watchdogs, checked on the real program from
//! outside.

mod classic;
mod files;
mod http;
mod logs;
mod serializing;
mod streaming;
mod support;
mod traffic;
mod upstream;
