//! What is made when the first request needs it. It is made beside the async workers, as it takes longer than connections
//! may be held up; requests that need it meanwhile wait without holding one.

use std::sync::Arc;

use tokio::sync::OnceCell;

/// Something that is made once, by the first who asks for it; cheap to clone.
pub(crate) struct OnDemand<T>(Arc<Inner<T>>);

struct Inner<T> {
    made: OnceCell<Arc<T>>,
    make: Arc<dyn Fn() -> T + Send + Sync>,
}

impl<T> Clone for OnDemand<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Send + Sync + 'static> OnDemand<T> {
    /// What `make` makes.
    pub(crate) fn new(make: impl Fn() -> T + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner { made: OnceCell::new(), make: Arc::new(make) }))
    }

    /// The thing itself, made now where nobody has asked for it before.
    pub(crate) async fn get(&self) -> Arc<T> {
        let make = async || {
            let make = Arc::clone(&self.0.make);
            match tokio::task::spawn_blocking(move || make()).await {
                Ok(made) => Arc::new(made),
                // The runtime takes no more such work, as it ends.
                Err(_) => Arc::new((self.0.make)()),
            }
        };
        Arc::clone(self.0.made.get_or_init(make).await)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    /// Far longer than it takes.
    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn it_is_made_once_and_the_only_worker_serves_others_meanwhile() {
        let (tell, told) = mpsc::channel();
        let (told, count) = (parking_lot::Mutex::new(told), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&count);
        let thing = OnDemand::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            told.lock().recv_timeout(PATIENCE)
        });
        let (first, second) = (thing.clone(), thing.clone());
        let (first, second, ()) = tokio::join!(first.get(), second.get(), async {
            // It is being made while this runs, on the same worker.
            tell.send(7).expect("it waits for this");
        });
        assert_eq!((*first, *second, *thing.get().await), (Ok(7), Ok(7), Ok(7)));
        assert_eq!(count.load(Ordering::Relaxed), 1);
    }
}
