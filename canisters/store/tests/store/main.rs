//! The store as its callers know it. One program: linking one for each subject takes minutes.

mod announcing;
mod certified;
mod contents;
mod equal_cost;
mod garbage;
mod golden;
mod hostile;
mod hostile_walks;
mod leaks;
mod leasing;
mod model_based;
mod opening;
mod putting;
mod quota_walks;
mod quotas;
mod roles;
mod scrubbing;
mod sealing;
mod support;
mod types;
mod unsealed;
mod uploading;
mod witness_names;
