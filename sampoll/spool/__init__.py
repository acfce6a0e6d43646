"""The directory state machine: who holds which pair, and what becomes of it.

::

    INPUT/NAME.jpg, NAME.prompt        waiting; writers need nothing else
    INPUT/.sampoll/nodes/<node>        one locked file for each running process
    INPUT/.sampoll/work/<node>/<job>/  a claimed pair, names unchanged, and .state.jsonl
    INPUT/.sampoll/deferred/<job>/     waiting for its next try, owned by no process
    INPUT/done/, INPUT/failed/         where pairs end
    OUTPUT/NAME.png, NAME.json         results; the OPEX file comes last and commits them
    OUTPUT/.sampoll/stage/<node>/<job>/  results being written
    OUTPUT/.sampoll/names/             result names that are taken but not yet published

`scan` and `state` decide and are pure; `nodes`, `claims`, `results`, `finish`, `failed` and `recovery` act,
each act being one rename or one write.
"""
