//! How many of the calls in flight may be one client's: a flood of one leaves room for others.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Clones share the count.
#[derive(Clone, Debug)]
pub(super) struct FairShare {
    most: usize,
    taken: Arc<Mutex<HashMap<String, usize>>>,
}

/// A call of a client, until it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    client: String,
    of: FairShare,
}

impl FairShare {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            taken: Arc::default(),
        }
    }

    /// One more call of the client, if it has not as many as it may already.
    pub(super) fn take(&self, client: &str) -> Option<Share> {
        let mut taken = self.lock();
        let count = taken.entry(client.to_owned()).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        drop(taken);
        Some(Share {
            client: client.to_owned(),
            of: self.clone(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.of.lock();
        if let Some(count) = taken.get_mut(&self.client) {
            *count -= 1;
            // Who does not call is not remembered.
            if *count == 0 {
                taken.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_its_share_and_no_more_and_others_have_theirs() {
        let shares = FairShare::new(2);
        let first = shares.take("bff").unwrap();
        let second = shares.take("bff").unwrap();
        assert!(shares.take("bff").is_none());
        assert!(shares.take("invoicing").is_some());
        drop(first);
        let third = shares.take("bff").unwrap();
        assert!(shares.take("bff").is_none());
        drop((second, third));
        assert!(shares.lock().is_empty());
    }
}
