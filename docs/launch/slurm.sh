#!/bin/bash
# Train one backbone on several nodes of a SLURM cluster, all GPUs of each:
#   sbatch docs/launch/slurm.sh resnet50
# The repository lies in a folder that all nodes see; .venv, data/ and params.yaml are ready there:
#   make repro, or dvc exp run -S ... preprocess, and train.strategy: multiworker in params.yaml
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
set -euo pipefail

export BACKBONE=${1:?the name of a backbone of params.yaml, such as resnet50}
export PORT=${PORT:-29400}

addresses=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed "s/.*/\"&:$PORT\"/" | paste -sd,)
export CLUSTER="{\"worker\": [$addresses]}"

# Node 0 is the chief: there DVC runs the stage and stores its outs. The others run the script.
# --kill-on-bad-exit: when one of them ends, none waits for it.
srun --kill-on-bad-exit=1 bash -c '
  export TF_CONFIG="{\"cluster\": $CLUSTER, \"task\": {\"type\": \"worker\", \"index\": $SLURM_NODEID}}"
  export PATH="$PWD/.venv/bin:$PATH"
  if [ "$SLURM_NODEID" = 0 ]; then
    exec dvc repro "train@$BACKBONE"
  else
    exec python -m stages.train --model "$BACKBONE"
  fi
'
