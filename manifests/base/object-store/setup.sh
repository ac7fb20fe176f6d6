# Buckets, users and policies in MinIO. Run by the Job jobtuner-object-store-setup; every step may be repeated.
set -euo pipefail
readonly root=/run/secrets/minio users=/run/secrets/users

# Through standard input: arguments can be read in the process list.
printf '%s\n%s\n' "$(<"$root/root-user")" "$(<"$root/root-password")" | mc alias set store http://jobtuner-s3:9000 >/dev/null

for bucket in jobtuner-data jobtuner-artifacts jobtuner-models jobtuner-answers; do
  mc mb --ignore-existing "store/$bucket"
  mc anonymous set none "store/$bucket" >/dev/null
done
mc version enable store/jobtuner-models  # a model that was overwritten can be had back

# grant NAME ACCESS:BUCKET...: user NAME, whose keys are files of the Secret jobtuner-s3-users; ACCESS is "read" or "write".
grant() {
  local name=$1 statements="" entry actions bucket
  for entry in "${@:2}"; do
    bucket=${entry#*:} actions='"s3:ListBucket","s3:GetBucketLocation","s3:GetObject"'
    [[ $entry == write:* ]] && actions+=',"s3:PutObject","s3:DeleteObject","s3:AbortMultipartUpload","s3:ListMultipartUploadParts"'
    statements+="${statements:+,}{\"Effect\":\"Allow\",\"Action\":[$actions],\"Resource\":[\"arn:aws:s3:::$bucket\",\"arn:aws:s3:::$bucket/*\"]}"
  done
  printf '{"Version":"2012-10-17","Statement":[%s]}' "$statements" >"/tmp/$name.json"
  mc admin policy create store "$name" "/tmp/$name.json" >/dev/null
  printf '%s\n%s\n' "$(<"$users/$name-id")" "$(<"$users/$name-key")" | mc admin user add store >/dev/null
  if ! mc admin policy attach store "$name" --user "$(<"$users/$name-id")" >/dev/null 2>&1; then
    [[ $(mc admin user info store "$(<"$users/$name-id")") == *"$name"* ]]  # attached before is an error to mc
  fi
  echo "$name: ${*:2}"
}

grant pipelines write:jobtuner-data write:jobtuner-artifacts write:jobtuner-models write:jobtuner-answers
grant mlflow write:jobtuner-artifacts
grant gateway read:jobtuner-models write:jobtuner-answers  # the prediction log, and what it forgets after its days
grant serving read:jobtuner-models

# Checkpoints of trainings that nobody took up again. `import` replaces the bucket's rules: it may be repeated.
mc ilm rule import store/jobtuner-artifacts \
  <<<'{"Rules":[{"ID":"checkpoints","Status":"Enabled","Filter":{"Prefix":"checkpoints/"},"Expiration":{"Days":14}}]}'
