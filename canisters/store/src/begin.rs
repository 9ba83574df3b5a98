//! Beginning, renewing and ending an upload; the leases of all, for controllers.

use ic_stable_structures::Memory;

use crate::api::{Lease, LeasePage, Upload};
use crate::crowding::{gives_way_to_all, gives_way_to_holder};
use crate::inner::Inner;
use crate::leases::LeaseRow;
use crate::limits::{GRACE_NS, LEASES_A_PAGE, MAX_LEASES, MAX_LEASES_A_HOLDER, MAX_STABLE_BYTES};
use crate::name::check_name;
use crate::regions::Purpose;
use crate::{Context, Error, Outcome};

impl<M: Memory + Clone> Inner<M> {
    /// Take the lease of a name, or get one's own back, renewed.
    ///
    /// # Errors
    /// The caller may not upload under this name, another one does, there are as many leases as
    /// may be and none of them gives way, or the frame bytes that are announced do not fit.
    pub fn begin_upload(&mut self, context: &Context, upload: Upload) -> Outcome<Lease> {
        check_name(&upload.model)?;
        Error::bound(MAX_STABLE_BYTES, upload.frame_bytes)?;
        if !self.may_upload(context, &upload.model) {
            return Err(Error::Unauthorized);
        }
        let present = self.lease_on(&upload.model);
        let lease = match present {
            Some(mut lease) if lease.holder == context.caller => {
                self.admit(context, Some(&lease), &upload)?;
                self.reserve_tables(Purpose::Free)?;
                self.renew(context, &mut lease);
                lease
            }
            Some(lease) if !self.may_take_over(context, &lease, upload.takeover) => {
                let owner = self.model_row(&upload.model).map(|model| model.owner);
                let told = context.controller || owner == Some(context.caller);
                let holder = told.then_some(lease.holder);
                return Err(Error::LeaseHeld { holder, expires_ns: lease.expires_ns() });
            }
            old => {
                self.admit(context, None, &upload)?;
                let gone = self.crowded_out(context, old.as_ref())?;
                self.reserve_tables(Purpose::Fill)?;
                old.iter().chain(&gone).for_each(|lease| self.drop_lease(lease));
                self.sealer_or_new(context.caller);
                self.add_lease(context, upload.model)
            }
        };
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
        self.drop_lease(&lease);
        Ok(())
    }

    /// List the leases of all uploaders by number, a page at a time; controllers only.
    ///
    /// # Errors
    /// The caller is no controller.
    pub fn leases(&self, context: &Context, after: Option<u64>) -> Outcome<LeasePage> {
        Self::require_controller(context)?;
        let mut rows = self.lease_rows_after(after);
        let leases: Vec<Lease> =
            rows.by_ref().take(LEASES_A_PAGE).map(|row| row.describe()).collect();
        let more = rows.next().is_some();
        let next = leases.last().filter(|_| more).map(|lease| lease.id);
        Ok(LeasePage { leases, next })
    }

    /// End the lease of another uploader; controllers only. Its frames fall to garbage in time.
    ///
    /// # Errors
    /// The caller is no controller, or there is no such lease.
    pub fn end_lease(&mut self, context: &Context, lease: u64) -> Outcome<()> {
        Self::require_controller(context)?;
        let unknown = || Error::NotFound(format!("lease {lease}"));
        let lease = self.lease_row(lease).ok_or_else(unknown)?;
        self.reserve_tables(Purpose::Free)?;
        self.drop_lease(&lease);
        Ok(())
    }

    /// Return the leases that give way to one more of the caller, who takes `old` over.
    fn crowded_out(&self, context: &Context, old: Option<&LeaseRow>) -> Outcome<Vec<LeaseRow>> {
        let mut gone = Vec::new();
        let own = self.leases_of(context.caller);
        if own.len() >= MAX_LEASES_A_HOLDER {
            let text = "this identity has as many leases as one may have: end an upload of it";
            let lease = gives_way_to_holder(&own, context.now_ns);
            gone.push(lease.ok_or_else(|| Error::Conflict(text.into()))?.clone());
        } else if old.is_none() && self.header.leases >= MAX_LEASES {
            let text = "the node has as many leases as it may have: a controller can end some";
            let all: Vec<LeaseRow> = self.lease_rows().collect();
            let lease = gives_way_to_all(&all, context.now_ns);
            gone.push(lease.ok_or_else(|| Error::Conflict(text.into()))?.clone());
        }
        Ok(gone)
    }

    /// End a lease and the seal that runs under it.
    pub(crate) fn drop_lease(&mut self, lease: &LeaseRow) {
        self.abandon_seal(lease);
        let until_ns = lease.used_ns.saturating_add(GRACE_NS);
        self.leave(&lease.accounts, lease.frame_bytes, until_ns);
        self.remove_lease(lease);
    }

    /// Check that the frames that are announced would fit: an uploader asks before it pays.
    fn admit(&mut self, context: &Context, own: Option<&LeaseRow>, upload: &Upload) -> Outcome<()> {
        if upload.frame_bytes == 0 {
            return Ok(());
        }
        let payers = self.payers(context, &upload.model);
        let (held_bytes, accounts) =
            own.map_or((0, &[][..]), |lease| (lease.frame_bytes, &lease.accounts[..]));
        let (old, new) = payers.into_iter().partition(|id| accounts.contains(id));
        self.open_charge(context, old).check(upload.frame_bytes)?;
        self.open_charge(context, new).check(held_bytes.saturating_add(upload.frame_bytes))?;
        self.check_room(context, upload.frames, upload.frame_bytes)
    }

    fn may_take_over(&self, context: &Context, lease: &LeaseRow, takeover: bool) -> bool {
        let owns = || self.model_row(&lease.model).is_some_and(|row| row.owner == context.caller);
        context.now_ns >= lease.expires_ns() || (takeover && (context.controller || owns()))
    }
}
