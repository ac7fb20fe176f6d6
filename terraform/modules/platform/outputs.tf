output "cluster_env" {
  description = "What manifests/ must know of this environment; cluster_env.py writes it."
  value = {
    CLOUD             = "gcp"
    CLUSTER_NAME      = module.cluster.name
    REGION            = var.region
    IMAGE_REGISTRY    = module.registry.image_registry
    S3_ENDPOINT       = module.storage.s3_endpoint
    BUCKET_DATA       = module.storage.buckets.data
    BUCKET_ARTIFACTS  = module.storage.buckets.artifacts
    BUCKET_MODELS     = module.storage.buckets.models
    BUCKET_ANSWERS    = module.storage.buckets.answers
    IDENTITY_PIPELINE = module.identity.emails.pipeline
    IDENTITY_DEPLOYER = module.identity.emails.deployer
    IDENTITY_MLFLOW   = module.identity.emails.mlflow
    IDENTITY_GATEWAY  = module.identity.emails.gateway
    IDENTITY_SERVING  = module.identity.emails.serving
    DATABASE_HOST     = var.database == null ? "" : module.database[0].host
  }
}

output "names" {
  description = "The names that manifests/ uses and this environment provides: namespaces, service accounts, buckets, and each pool's labels and taints."
  value = {
    namespaces       = module.contract.namespaces
    service_accounts = module.contract.service_accounts
    buckets          = module.storage.buckets
    pools            = merge(concat(values(module.node_pool)[*].pools, values(module.gpu_pool)[*].pools)...)
  }
}

output "credentials" {
  description = "S3 access key and secret by component, where hmac_components asks for them."
  value       = module.storage.hmac_keys
  sensitive   = true
}

output "commands" {
  description = "What to type: connect gives kubectl access, database_password prints MLflow's password (null without a database)."
  value = {
    connect           = module.cluster.connect_command
    database_password = var.database == null ? null : "gcloud secrets versions access latest --secret ${module.database[0].password_secret} --project ${var.project_id}"
  }
}
