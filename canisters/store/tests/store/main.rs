//! The store as its callers know it. One program: linking one for each subject takes minutes.

mod certified;
mod garbage;
mod golden;
mod leaks;
mod model_based;
mod opening;
mod putting;
mod roles;
mod sealing;
mod support;
mod unsealed;
mod uploading;
