//! Section I: refusals, each a clear error naming what to do.
