"""Churn: which customers will leave, why, and which of them are worth a call.

Two shapes of input lead to the same model: a customer table that already carries a label, and an event log from which
`churn.algorithms.labels` makes one, snapshot by snapshot.
"""
