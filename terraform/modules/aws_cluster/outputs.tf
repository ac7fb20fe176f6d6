output "name" {
  description = "Name of the cluster; known once nodes can join."
  value       = aws_eks_cluster.this.name
  depends_on  = [aws_eks_addon.this]
}

output "endpoint" {
  description = "Address of the control plane."
  value       = aws_eks_cluster.this.endpoint
}

output "certificate_authority" {
  description = "The control plane's certificate authority, PEM in base64."
  value       = one(aws_eks_cluster.this.certificate_authority[*].data)
}

output "node_role_arn" {
  description = "ARN of the role that nodes run as."
  value       = aws_iam_role.nodes.arn
  depends_on  = [aws_iam_role_policy_attachment.nodes]
}

output "connect_command" {
  description = "What gives kubectl access."
  value       = "aws eks update-kubeconfig --name ${aws_eks_cluster.this.name} --region ${var.region}"
}
