output "role_arns" {
  description = "ARN of the role by component. Nothing in manifests/ must name it: the association in EKS does."
  value       = { for component, role in aws_iam_role.component : component => role.arn }
  depends_on  = [aws_eks_pod_identity_association.component]
}
