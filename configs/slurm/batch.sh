#!/bin/sh
# A batch as an array of Slurm: each task does its share of the images.
#
#   sbatch --array=0-15 batch.sh /data/photographs /data/masks
#
# A task that is stopped by its time limit, preempted, or lost with its node, is queued again, and does what is left.
#
#SBATCH --job-name=sampoll
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=4
#SBATCH --mem=16G
#SBATCH --time=04:00:00
# TERM to this shell two minutes before the limit: the running batch is finished.
#SBATCH --signal=B:TERM@120

source=$1
output=$2
shift 2

sampoll batch "$source" --output "$output" --shard slurm \
    --report "sampoll-$SLURM_ARRAY_JOB_ID-$SLURM_ARRAY_TASK_ID.jsonl" "$@" &
batch=$!
stopping=
trap 'stopping=1; kill -TERM "$batch"' TERM
wait "$batch"
code=$?
# The signal has ended that wait; the next one has the exit code.
if [ "$stopping" ] && [ "$code" -gt 128 ]; then
    wait "$batch"
    code=$?
fi

# The same task may do what is left after 71, 74 and 75, a device or a store has failed or it was stopped; and after a
# crash, or a kill for lack of memory: an image that causes it fails alone then.
case "$code" in
    71 | 74 | 75 | 134 | 135 | 137 | 139)
        if [ "${SLURM_RESTART_COUNT:-0}" -lt 6 ]; then
            scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
        fi
        ;;
esac
exit "$code"
