//! The store as its host sees it.
//!
//! Whatever changes something goes through [`Store::change`], which writes the counters down: no
//! method can forget to.

use std::ops::Deref;

use ic_stable_structures::Memory;
use serde_bytes::ByteBuf;

use crate::api::*;
use crate::arriving::Incoming;
use crate::inner::Inner;
use crate::open_error::OpenError;
use crate::{Context, Digest, Outcome};

/// A storage node in a memory. What only reads is found on [`Inner`].
pub struct Store<M: Memory + Clone>(pub(crate) Inner<M>);

impl<M: Memory + Clone> Deref for Store<M> {
    type Target = Inner<M>;

    fn deref(&self) -> &Inner<M> {
        &self.0
    }
}

/// Expose methods of `Inner` that change something.
macro_rules! changes {
    ($($name:ident($($argument:ident: $kind:ty),*) -> $result:ty;)*) => {
        impl<M: Memory + Clone> Store<M> {
            $(
                #[doc = concat!("See [`Inner::", stringify!($name), "`].")]
                #[allow(clippy::missing_errors_doc)]
                pub fn $name(&mut self, context: &Context, $($argument: $kind),*) -> Outcome<$result> {
                    self.change(|inner| inner.$name(context, $($argument),*))
                }
            )*
        }
    };
}

changes! {
    begin_upload(upload: Upload) -> Lease;
    renew_upload(lease: u64) -> Lease;
    end_upload(lease: u64) -> ();
    end_lease(lease: u64) -> ();
    put_frames(lease: u64, frames: &dyn Incoming) -> Vec<PutResult>;
    pin_frames(lease: u64, digests: &[Hash]) -> ByteBuf;
    seal_model(lease: u64, seal: Seal, cursor: &[u8]) -> SealStep;
    scrub(cursor: &[u8], max_bytes: u64) -> ScrubPage;
    delete_model(name: &str, version: Option<u32>, cursor: &[u8]) -> DeletePage;
    collect_garbage(force: Force, cursor: &[u8]) -> GarbagePage;
    grant(grant: Grant) -> ();
    revoke(revoke: Revoke) -> ();
    transfer_model(transfer: Transfer) -> ();
    set_visibility(change: SetVisibility) -> ();
}

impl<M: Memory + Clone> Store<M> {
    /// Create a store in empty memory.
    ///
    /// # Errors
    /// The memory is not empty, or does not grow.
    pub fn create(memory: M, blinding_seed: Digest) -> Result<Self, OpenError> {
        Inner::create(memory, blinding_seed).map(Self)
    }

    /// Open the store in a memory.
    ///
    /// # Errors
    /// The memory holds no store, a newer one, or is cut off. It is not written to.
    pub fn open(memory: M) -> Result<Self, OpenError> {
        Inner::open(memory).map(Self)
    }

    /// Return the root if the tree has changed since it was last taken.
    pub fn take_root(&mut self) -> Option<Digest> {
        self.0.tree.take_root().map(|root| self.0.beside.root(root))
    }

    fn change<R>(&mut self, work: impl FnOnce(&mut Inner<M>) -> R) -> R {
        let result = work(&mut self.0);
        self.0.save();
        result
    }
}
