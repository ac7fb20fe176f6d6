output "cluster_env" {
  description = "What manifests/ must know of this environment; cluster_env.py writes it."
  value = {
    CLOUD             = "aws"
    CLUSTER_NAME      = module.cluster.name
    REGION            = var.region
    IMAGE_REGISTRY    = module.registry.image_registry
    S3_ENDPOINT       = module.storage.s3_endpoint
    BUCKET_DATA       = module.storage.buckets.data
    BUCKET_ARTIFACTS  = module.storage.buckets.artifacts
    BUCKET_MODELS     = module.storage.buckets.models
    BUCKET_ANSWERS    = module.storage.buckets.answers
    IDENTITY_PIPELINE = module.identity.role_arns.pipeline
    IDENTITY_DEPLOYER = module.identity.role_arns.deployer
    IDENTITY_MLFLOW   = module.identity.role_arns.mlflow
    IDENTITY_GATEWAY  = module.identity.role_arns.gateway
    IDENTITY_SERVING  = module.identity.role_arns.serving
    DATABASE_HOST     = "" # PostgreSQL runs in the cluster
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

output "cluster" {
  description = "How the Helm provider reaches the cluster."
  value = {
    name                  = module.cluster.name
    endpoint              = module.cluster.endpoint
    certificate_authority = module.cluster.certificate_authority
  }
}

output "commands" {
  description = "What to type: connect gives kubectl access."
  value       = { connect = module.cluster.connect_command }
}
