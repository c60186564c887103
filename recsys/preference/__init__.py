"""4. Events -> taste: who likes what, and what that says of everything else (collaborative filtering).

Read in this order: `interactions` (events -> people x items), `cooccurrence`, `linear` and `factors` (three
models of it), `cold` (what new items borrow), `popularity`, `models` (all of them, fitted and kept as one
`Preference`), `baselines` (what a blend of them has to beat). `sparse` and `pruning` hold what they share.
"""
