//! PostgreSQL.

use std::sync::Arc;

use crate::api::Options;
use crate::backend::Backend;
use crate::cache::Cache;
use crate::error::StoreError;

/// Opens the store in the database that `options` name.
pub(crate) async fn open(_options: &Options, _cache: Arc<Cache>) -> Result<Arc<dyn Backend>, StoreError> {
    Err(StoreError::Open("PostgreSQL is not there yet".to_owned()))
}
