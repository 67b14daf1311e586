//! Orders from those who decide to the one who ticks; neither ever waits for the other.
//!
//! With one lock around both, a withdrawal waits while ten thousand frames are sealed, and the frames while somebody lists
//! a circle. A bounded queue has to refuse when it is full, which a withdrawal must not be; the usual unbounded ones
//! allocate in blocks, and let the receiver spin where a sender was interrupted between claiming a place and filling it.
//!
//! Here a batch of orders is linked first and then published whole, by one compare-and-swap; the taker swaps the whole list
//! out, turns it round and does what it says. There is one of each side (who have several deciders put a lock around the
//! giving end, among themselves), and so both are wait-free: a swap fails only if the other side's came in between, which
//! leaves an empty list, and with an empty list it cannot fail again. A batch is seen whole or not at all.
//!
//! The taker allocates and frees nothing. Done orders go back by a second list of the same kind, with whatever the taker
//! left in them, and are dropped where they were made.
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::Arc;

struct Link<T> {
    order: T,
    next: *mut Link<T>,
}

struct Lists<T> {
    /// Given and not yet taken, the newest first.
    given: AtomicPtr<Link<T>>,
    /// Done, in no particular order.
    done: AtomicPtr<Link<T>>,
}

/// The end of those who decide.
pub struct Giver<T>(Arc<Lists<T>>);

/// The end of the one who does what was decided.
pub struct Taker<T>(Arc<Lists<T>>);

// SAFETY: the lists own their links; a link is reachable from one list or one owner at a time, and passes between threads
// only by the atomic swaps below. So sending an end to another thread sends orders, and nothing more.
unsafe impl<T: Send> Send for Lists<T> {}
// SAFETY: as above; the lists themselves are touched by atomic operations alone.
unsafe impl<T: Send> Sync for Lists<T> {}

/// The two ends.
pub fn hand_over<T>() -> (Giver<T>, Taker<T>) {
    let lists = Lists { given: AtomicPtr::new(ptr::null_mut()), done: AtomicPtr::new(ptr::null_mut()) };
    let lists = Arc::new(lists);
    (Giver(Arc::clone(&lists)), Taker(lists))
}

/// Puts the chain from `newest` to `oldest` before what is in `list`.
///
/// # Safety
/// The chain's links are reachable from nowhere else.
unsafe fn put<T>(list: &AtomicPtr<Link<T>>, newest: *mut Link<T>, oldest: *mut Link<T>) {
    let mut head = list.load(Ordering::Relaxed);
    loop {
        // SAFETY: until it is published below, the chain is this caller's alone.
        unsafe { (*oldest).next = head };
        // SeqCst, with `Taker::is_idle`: an order that was given before a frame was begun is seen by it.
        match list.compare_exchange(head, newest, Ordering::SeqCst, Ordering::Relaxed) {
            Ok(_) => return,
            Err(now) => head = now,
        }
    }
}

impl<T> Lists<T> {
    /// Drops what is in `list`.
    fn clear(list: &AtomicPtr<Link<T>>) {
        let mut link = list.swap(ptr::null_mut(), Ordering::Acquire);
        while !link.is_null() {
            // SAFETY: every link was made by `Box::into_raw`, and the swap made this whole chain ours alone.
            let owned = unsafe { Box::from_raw(link) };
            link = owned.next;
        }
    }
}

impl<T> Giver<T> {
    /// Gives `orders`, all of them at once and in their order. Allocates, and drops those that are done.
    pub fn give(&mut self, orders: impl IntoIterator<Item = T>) {
        Lists::clear(&self.0.done);
        let (mut newest, mut oldest): (*mut Link<T>, *mut Link<T>) = (ptr::null_mut(), ptr::null_mut());
        for order in orders {
            newest = Box::into_raw(Box::new(Link { order, next: newest }));
            if oldest.is_null() {
                oldest = newest;
            }
        }
        if !newest.is_null() {
            // SAFETY: the links were made here, and nobody else knows of them.
            unsafe { put(&self.0.given, newest, oldest) };
        }
    }
}

impl<T> Taker<T> {
    /// Whether there is nothing to take. Realtime-safe.
    pub fn is_idle(&self) -> bool {
        self.0.given.load(Ordering::SeqCst).is_null()
    }

    /// Does everything that was given so far, in order; what `each` leaves in an order is dropped by the giver. Returns
    /// how many there were. Realtime-safe as far as `each` is.
    pub fn take(&mut self, mut each: impl FnMut(&mut T)) -> usize {
        let newest = self.0.given.swap(ptr::null_mut(), Ordering::SeqCst);
        let (mut link, mut oldest) = (newest, ptr::null_mut::<Link<T>>());
        while !link.is_null() {
            // SAFETY: the swap made the whole chain ours alone; here it is only turned round.
            let next = unsafe { std::mem::replace(&mut (*link).next, oldest) };
            (oldest, link) = (link, next);
        }
        let (mut count, mut link) = (0, oldest);
        while !link.is_null() {
            // SAFETY: still ours alone, and no other reference to the link is alive.
            let current = unsafe { &mut *link };
            each(&mut current.order);
            (count, link) = (count + 1, current.next);
        }
        if !newest.is_null() {
            // SAFETY: from the oldest to the newest it is one chain, which nobody else knows of.
            unsafe { put(&self.0.done, oldest, newest) };
        }
        count
    }
}

impl<T> Drop for Lists<T> {
    fn drop(&mut self) {
        Self::clear(&self.given);
        Self::clear(&self.done);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::sync::Mutex;

    #[test]
    fn orders_from_many_arrive_once_each_in_order_and_batches_whole() {
        const GIVERS: u64 = 4;
        const BATCHES: u64 = 5_000;
        let (giver, mut taker) = hand_over();
        let giver = Mutex::new(giver);
        let mut last: HashMap<u64, u64> = HashMap::new();
        let (mut taken, mut partial) = (0, 0);
        std::thread::scope(|scope| {
            for name in 0..GIVERS {
                let giver = &giver;
                scope.spawn(move || {
                    for batch in 0..BATCHES {
                        // Batches of different sizes; each order says how many of its batch follow it.
                        let size = batch % 4 + 1;
                        let orders = (0..size).map(|i| (name, batch * 4 + i, size - 1 - i, vec![name; 3]));
                        giver.lock().unwrap().give(orders);
                    }
                });
            }
            let all: u64 = GIVERS * (0..BATCHES).map(|batch| batch % 4 + 1).sum::<u64>();
            while taken < all {
                let (mut open, mut bad) = (0, 0);
                taken += taker.take(|(name, number, following, load)| {
                    let before = last.insert(*name, *number);
                    bad += u64::from(before.is_some_and(|before| before >= *number) || load.len() != 3);
                    open = *following;
                    load.push(0);
                }) as u64;
                assert_eq!(bad, 0, "each giver's in order, none twice, untouched before");
                partial += u64::from(open != 0);
                std::thread::yield_now();
            }
        });
        assert_eq!(partial, 0, "a batch is seen whole or not at all");
        assert!(taker.is_idle() && taker.take(|_| ()) == 0);
    }

    #[test]
    fn everything_is_dropped_once_wherever_it_is() {
        let token = Arc::new(());
        let (mut giver, mut taker) = hand_over();
        giver.give([Arc::clone(&token), Arc::clone(&token)]);
        taker.take(|_| ());
        giver.give(None);
        assert_eq!(Arc::strong_count(&token), 1, "what is done is dropped by the next who gives");
        giver.give([Arc::clone(&token)]);
        taker.take(|_| ());
        giver.give([Arc::clone(&token)]);
        drop((giver, taker));
        assert_eq!(Arc::strong_count(&token), 1, "done or not");
    }
}
