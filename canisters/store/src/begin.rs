//! Beginning, renewing and ending an upload.

use ic_stable_structures::Memory;

use crate::api::{Lease, Upload};
use crate::leases::LeaseRow;
use crate::limits::{MAX_LEASES, MAX_STABLE_BYTES};
use crate::name::check_name;
use crate::regions::Purpose;
use crate::store::Store;
use crate::{Context, Error, Outcome};

impl<M: Memory + Clone> Store<M> {
    /// Take the lease of a name, or get one's own back, renewed.
    ///
    /// # Errors
    /// The caller may not upload under this name, or somebody else does.
    pub fn begin_upload(&mut self, context: &Context, upload: Upload) -> Outcome<Lease> {
        check_name(&upload.model)?;
        Error::bound(MAX_STABLE_BYTES, upload.frame_bytes)?;
        if !self.may_upload(context, &upload.model) {
            return Err(Error::Unauthorized);
        }
        let present = self.lease_on(&upload.model);
        let lease = match present {
            Some(mut lease) if lease.holder == context.caller => {
                self.reserve_tables(Purpose::Free)?;
                self.renew(context, &mut lease);
                lease
            }
            Some(lease) if !self.may_take_over(context, &lease, upload.takeover) => {
                let expires_ns = lease.expires_ns();
                return Err(Error::LeaseHeld { holder: lease.holder, expires_ns });
            }
            old => {
                if old.is_none() && self.header.leases >= MAX_LEASES {
                    return Err(Error::Conflict("there are too many leases: end some".into()));
                }
                self.reserve_tables(Purpose::Fill)?;
                if let Some(old) = old {
                    self.end_lease(&old);
                }
                self.add_lease(context, upload.model)
            }
        };
        self.save();
        Ok(lease.describe())
    }

    /// Renew a lease.
    ///
    /// # Errors
    /// The lease is not the caller's.
    pub fn renew_upload(&mut self, context: &Context, lease: u64) -> Outcome<Lease> {
        let mut lease = self.lease_of(context, lease)?;
        self.reserve_tables(Purpose::Free)?;
        self.renew(context, &mut lease);
        Ok(lease.describe())
    }

    /// Give a lease up; its frames fall to garbage in time.
    ///
    /// # Errors
    /// The lease is not the caller's.
    pub fn end_upload(&mut self, context: &Context, lease: u64) -> Outcome<()> {
        let lease = self.lease_row(lease).filter(|lease| lease.holder == context.caller);
        let lease = lease.ok_or(Error::LeaseLost)?;
        self.reserve_tables(Purpose::Free)?;
        self.end_lease(&lease);
        self.save();
        Ok(())
    }

    /// End a lease and the seal that runs under it.
    pub(crate) fn end_lease(&mut self, lease: &LeaseRow) {
        self.abandon_seal(lease);
        self.remove_lease(lease);
    }

    fn may_take_over(&self, context: &Context, lease: &LeaseRow, takeover: bool) -> bool {
        let owns = || self.model_row(&lease.model).is_some_and(|row| row.owner == context.caller);
        context.now_ns >= lease.expires_ns() || (takeover && (context.controller || owns()))
    }
}
