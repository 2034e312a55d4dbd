//! Section D: fairness and timers.
